"""An engine without a model that behaves like the real one: reads the clip, takes steps, shows previews, writes files.

The edit is a turn of the colours, so that a test and a person can tell edited frames from original ones. Words in the
target change what happens: "fails" ends with an error for people, "waiting" stands still after a few steps until the
file `<data>/go` is there.
"""

import base64
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editor.events import EditError, EditResult, Emit, Preview, Progress, Stage
from editor.media import AudioSpan, Clip, read_clip, side_by_side, write_poster, write_video
from editor.request import EditRequest
from editor.settings import Settings

STEP_SECONDS = 0.03
WAIT_AT = 5


def run(job_dir: Path, request: EditRequest, settings: Settings, emit: Emit) -> tuple[EditResult, ...]:
    """See `editor.jobs.service.JobService`."""
    begun = time.monotonic()
    emit(Progress(Stage.PREPARE, 0, 1))
    clip = read_clip(job_dir / "clip.mp4", request.start, request.end, request.key_fps, request.max_frames)
    for step in range(request.steps):
        time.sleep(STEP_SECONDS / 2)
        emit(Progress(Stage.INVERT, step + 1, request.steps, STEP_SECONDS * (request.steps * 1.5 - step / 2)))
    go = settings.data / "go"
    return tuple(_edit(job_dir, request, clip, n, go, emit, begun) for n in range(len(request.targets)))


def _edit(folder: Path, request: EditRequest, clip: Clip, n: int, go: Path, emit: Emit, begun: float) -> EditResult:
    target, steps = request.targets[n], request.steps
    pictures = np.stack(list(clip.every_frame()))
    goal = np.roll(pictures, 1 + n, axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, pictures.shape, dtype=np.uint8)

    def show(step: int) -> None:
        share = (step + 1) / steps
        guess = (np.roll(noise, time.monotonic_ns() % 97) * (1 - share) + goal * share).astype(np.uint8)
        emit(Progress(Stage.EDIT, step + 1, steps, STEP_SECONDS * (steps - step)))
        emit(Preview(n, step + 1, steps, pictures, guess))

    for step in range(steps):
        time.sleep(STEP_SECONDS)
        show(step)
        if "fails" in target and step == 3:
            raise EditError("The colours ran out. Try a shorter clip.")
        while "waiting" in target and step == WAIT_AT and not go.exists():
            time.sleep(0.4)
            show(step)
    return write_result(folder / f"result-{n}", request, clip, goal, n, begun)


def write_result(
    folder: Path, request: EditRequest, clip: Clip, edited: np.ndarray, n: int, begun: float
) -> EditResult:
    """The files of target `n`, as the real engine would leave them."""
    folder.mkdir()
    pictures = clip.every_frame()
    sound = AudioSpan(clip.audio, clip.start, clip.duration) if clip.audio else None
    summary = summary_of(request, len(edited), len(clip.frames), round(time.monotonic() - begun, 1))
    result = EditResult(request.targets[n], folder, summary)
    write_video(edited, clip.fps, result.edited, sound)
    write_video(
        np.stack([side_by_side(a, b) for a, b in zip(pictures, edited, strict=True)]), clip.fps, result.side_by_side
    )
    write_poster(edited[len(edited) // 2], result.poster)
    write_manifest(result, request, *clip.notes)
    write_word_maps(result)
    return result


def summary_of(request: EditRequest, frames: int, keyframes: int, seconds: float) -> dict[str, Any]:
    """Headline numbers like the real engine's."""
    summary = {"vae_psnr": 34.2, "reconstruction_psnr": None, "unet_evaluations_per_frame": 4.0 * request.steps}
    summary |= {"kept_psnr": 38.4, "flicker": 1.04, "sharpness": 0.9, "unfollowed": 0.012}
    maps = {"source": request.source.split(), "target": request.targets[0].split(), "keyframes": [0, 8], "size": [8, 8]}
    summary["word_maps"] = maps if request.word_maps else None
    return {**summary, "frames": frames, "keyframes": keyframes, "seconds": seconds, "inversion_cached": False}


def write_word_maps(result: EditResult) -> None:
    """The picture of the word maps, where they were asked for: each word has a level of its own, all over the frame."""
    maps = result.summary["word_maps"]
    if maps:
        levels = np.arange(len(maps["source"] + maps["target"]), dtype=np.uint8)[:, None] * 10
        Image.fromarray(levels.repeat(8, 0).repeat(16, 1)).save(result.word_maps, "webp", lossless=True)


def write_manifest(result: EditResult, request: EditRequest, *notes: str) -> None:
    """The manifest of a result."""
    masks = [base64.b64encode(np.packbits(np.eye(8, dtype=bool)).tobytes()).decode()] * 2
    where = {"acted": {"size": [8, 8], "masks": masks}, "motion": {"keyframes": [0, 8]}}
    record = {"request": request.to_dict(), "target": result.target, "notes": list(notes), **where, **result.summary}
    result.manifest.write_text(json.dumps(record))
