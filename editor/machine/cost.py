"""Wall time of an edit's UNet stages against the same rows through the UNet without any control, what carrying an edit
takes, and peak memory, each in its own process: of one dense denoising step beyond weights, frames and trajectory, and
of whole edits by their length.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTokenizer

from editor.diffusion.kernels import SDPA
from editor.diffusion.layouts import BETAS
from editor.diffusion.models import load_models
from editor.events import EditError
from editor.machine.shapes import TOKENIZER, layout, random_unet
from editor.media import video_writer
from editor.media.clip import stream_frames
from editor.method.attention import EditStep, attached, processors_for
from editor.method.branches import row_schedule
from editor.method.inversion import Trajectory, invert
from editor.method.plan import ControlPlan, plan_control
from editor.method.sampling import Conditioning, sample_edit
from editor.method.schedule import Schedule
from editor.motion import Change, Keyframes, difference, spread
from editor.pipeline import edit
from editor.request import EditRequest
from editor.settings import ROOT, Settings

ROUNDS = 3  # the variants take turns, and the fastest round of each counts: other programs only ever slow one down
FRAMES = 8
PEAK_FRAMES = (8, 16)
PEAK_KEYFRAMES = (32, 128)
PEAK_SECONDS = (10, 60)
PEAK_STEPS = 2  # the peak is the same in every step
CELLS = 32  # per side, 256 pixels at SD 1.5's factor


class Bout:
    """The parts that all variants share: the built-in model's shape with random weights, and one request."""

    def __init__(self, request: EditRequest, shape: str = "small", frames: int = FRAMES) -> None:
        config = layout(shape).unet
        self.request, self.frames = request, frames
        self.unet: UNet2DConditionModel = random_unet(shape)
        scheduler = DDIMScheduler(**BETAS, prediction_type=layout(shape).prediction_type)
        self.schedule = Schedule.from_scheduler(scheduler, request.steps)
        tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
        self.plan: ControlPlan = plan_control(request.source, request.targets[0], request, tokenizer)
        noise = torch.Generator().manual_seed(0)
        side = config["sample_size"]
        self.latents = torch.randn(frames, self.unet.config.in_channels, side, side, generator=noise)
        self.text = Conditioning(*torch.randn(3, 1, 77, config["cross_attention_dim"], generator=noise))

    def controlled(self) -> None:
        """Inversion and edit as they are."""
        trajectory = invert(self.unet, self.schedule, self.latents, self.text.source)
        sample_edit(self.unet, self.schedule, trajectory, [self.plan], self.text, self.request)

    def bare(self) -> None:
        """The same rows through the same attention layout, without control."""
        layout = (self.request.frame_attention, self.request.dense_layers)
        with attached(self.unet, processors_for(self.unet, SDPA)):
            self._rows([1] * self.request.steps, EditStep(self.frames))
        with attached(self.unet, processors_for(self.unet, SDPA, *layout)):
            self._rows(self._counts(), EditStep(self.frames))

    def plain(self) -> None:
        """The same rows through diffusers' own attention, frame by frame."""
        self._rows([1] * self.request.steps, None)
        self._rows(self._counts(), None)

    def _counts(self) -> list[int]:
        return [rows.count for rows in row_schedule(self.request, [self.plan])]

    @torch.no_grad()
    def _rows(self, counts: list[int], edit: EditStep | None) -> None:
        """One UNet call per step with `count` rows of all frames; our layers want text per row, others per frame."""
        for step, count in enumerate(counts):
            batch = self.latents.repeat(count, 1, 1, 1)
            text = self.text.source.expand(count if edit else len(batch), -1, -1)
            extra: dict[str, Any] = {"cross_attention_kwargs": {"edit": edit}} if edit else {}
            self.unet(batch, self.schedule.timesteps[step], encoder_hidden_states=text, **extra)


def wall_ratios(say: Callable[[str], None], steps: int | None = None) -> dict[str, float]:
    """`wall_ratio`: controlled over bare; `layout_ratio`: bare over plain; preset balanced, built-in model's shape."""
    request = EditRequest.from_preset(
        "balanced", source="a red car on the road", targets=("a blue car on the road",), steps=steps
    )
    bout = Bout(request)
    variants = {"controlled": bout.controlled, "bare": bout.bare, "plain": bout.plain}
    best = dict.fromkeys(variants, float("inf"))
    for number in range(ROUNDS):
        say(f"timing the UNet stages, round {number + 1} of {ROUNDS}")
        for name, run in variants.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return {"wall_ratio": best["controlled"] / best["bare"], "layout_ratio": best["bare"] / best["plain"]}


def memory_ratio(say: Callable[[str], None], shape: str = "sd15", cells: int = CELLS) -> dict[str, float]:
    """`dense`: the peak of 16 frames over that of 8, all self-attention dense; and both peaks in megabytes."""
    peaks = []
    for frames in PEAK_FRAMES:
        say(f"peak memory of {frames} frames, dense, shape {shape}, {cells} x {cells} latents")
        command = [sys.executable, "-m", "editor.machine.cost", shape, str(frames), str(cells)]
        outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            raise EditError(f"The measuring process failed: {outcome.stderr.strip()[-300:]}")
        peaks.append(int(outcome.stdout.split()[-1]))
    few, many = PEAK_FRAMES
    megabytes = {f"peak_mb_{n}_frames": peak / 1e6 for n, peak in zip(PEAK_FRAMES, peaks, strict=True)}
    return {"dense": peaks[PEAK_FRAMES.index(many)] / peaks[PEAK_FRAMES.index(few)], **megabytes}


def peak_of_one_step(shape: str, frames: int, cells: int) -> int:
    """Bytes that one controlled, guided step with dense attention needs at its peak, beyond what was there before."""
    prompts = {"source": "a red car on the road", "targets": ("a blue car on the road",)}
    request = EditRequest.from_preset("balanced", **prompts, steps=1, frame_attention="dense", dense_layers="all")
    bout = Bout(request, shape, frames)
    latents = torch.randn(frames, bout.unet.config.in_channels, cells, cells)
    trajectory = Trajectory(torch.stack([latents, latents]), 0.0)
    resident = _reset_peak()
    sample_edit(bout.unet, bout.schedule, trajectory, [bout.plan], bout.text, request)
    return _status("VmHWM") - resident


def length_ratios(say: Callable[[str], None]) -> dict[str, float]:
    """What more frames cost: `keyframes`, the peak of a process that edits 128 of them over that with 32; `length`,
    that of 60 s of 1280 x 720 at 30 frames a second over 10 s; `wall`, the time of the former over six times the
    latter's.
    """
    few, many = (_edit_apart(say, 96, 96, 8.0, count)["peak"] for count in PEAK_KEYFRAMES)
    short, long = (_edit_apart(say, 1280, 720, 30.0, round(30 * seconds)) for seconds in PEAK_SECONDS)
    times = PEAK_SECONDS[1] / PEAK_SECONDS[0]
    megabytes = {f"peak_mb_{s}_seconds": run["peak"] / 1e6 for s, run in zip(PEAK_SECONDS, (short, long), strict=True)}
    return {
        "keyframes": many / few,
        "length": long["peak"] / short["peak"],
        "wall": long["seconds"] / (times * short["seconds"]),
        **megabytes,
    }


def carrying_cost(say: Callable[[str], None], frames: int = 25) -> dict[str, float]:
    """`seconds`: of one core, to carry an edit to one frame of 1280 x 720 from keyframes at every 4th, which agree
    first, and to fit it to the frame's colours; `ratio`: that over the processor time of decoding one.
    """
    say(f"carrying an edit over {frames} frames of 1280 x 720")
    with TemporaryDirectory() as folder:
        clip = draw_ground(Path(folder) / "clip.mp4", 1280, 720, 30.0, frames)
        began = _children_seconds()
        pictures = list(stream_frames(clip, 30.0, 0, frames, (1280, 720)))
        decoding = _children_seconds() - began
    keyframes = Keyframes(tuple(range(0, frames, 4)), (0,) * len(range(0, frames, 4)), frames)
    changes = [Change(0, pictures[i], difference(255 - pictures[i], pictures[i])) for i in keyframes.indices]
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        began = time.process_time()
        between = sum(not c.keyframe for c in spread(pictures, keyframes, changes, 1))
        carrying = (time.process_time() - began) / between
    finally:
        cv2.setNumThreads(threads)
    return {"seconds": carrying, "ratio": carrying / (decoding / frames)}


def _children_seconds() -> float:
    """Processor time of this process's children that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system


def draw_ground(path: Path, width: int, height: int, fps: float, frames: int) -> Path:
    """A coarse pattern that slides to the left, written frame by frame."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 24 + 1, width // 24 + 1, 3), np.uint8)
    ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    with video_writer(path, fps) as put:
        for i in range(frames):
            put(np.roll(ground, -2 * i, axis=1))
    return path


def _edit_apart(say: Callable[[str], None], width: int, height: int, fps: float, frames: int) -> dict[str, float]:
    """`peak_of_edit` in a process of its own."""
    say(f"peak memory of an edit of {frames} frames of {width} x {height}")
    command = [sys.executable, "-m", "editor.machine.cost", "edit", *map(str, (width, height, fps, frames))]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        raise EditError(f"The measuring process failed: {outcome.stderr.strip()[-300:]}")
    return json.loads(outcome.stdout.splitlines()[-1])


def peak_of_edit(
    width: int, height: int, fps: float, frames: int, model: str = "demo", size: int = 0
) -> dict[str, float]:
    """Edit a drawn clip with a model, at a longer side of `size` or its own, in 2 steps: `peak` bytes of the whole
    process, and `seconds`.
    """
    asked = {"source": "a red car on the road", "targets": ("a blue car on the road",), "steps": PEAK_STEPS}
    asked |= {"size": size} if size else {}
    with TemporaryDirectory() as folder:
        clip = draw_ground(Path(folder) / "clip.mp4", width, height, fps, frames)
        models = load_models(model, Settings(device="cpu"))
        began = time.perf_counter()
        edit(clip, EditRequest.from_preset(**asked), models, Path(folder) / "out", normalised=True, previews=False)
    return {"peak": _status("VmHWM"), "seconds": time.perf_counter() - began}


def _reset_peak() -> int:
    """Make the kernel forget the peak so far; returns the resident bytes now. Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise EditError("Peak memory can be measured on Linux only: /proc/self/clear_refs is needed.") from error
    return _status("VmRSS")


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    if sys.argv[1] == "edit":
        width, height, fps, frames, *rest = sys.argv[2:]
        found = json.dumps(
            peak_of_edit(int(width), int(height), float(fps), int(frames), *rest[:1], *map(int, rest[1:]))
        )
    else:
        found = str(peak_of_one_step(sys.argv[1], *map(int, sys.argv[2:])))
    sys.stdout.write(found + "\n")
