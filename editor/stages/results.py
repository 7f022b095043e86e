"""What an edit leaves behind: two videos, a poster, and the manifest, which says everything needed to repeat it, to
judge it, and to know what it cost. All are moved into place when all are whole.
"""

import base64
import json
import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from editor.diffusion.latents import unpad_frames
from editor.diffusion.models import Models
from editor.diffusion.safety import Withheld
from editor.events import DISK_FULL, EditError, EditResult, Stage, is_disk_full
from editor.manifest import STATEMENT, VERSION, tag_text
from editor.media import side_by_side, video_writer, write_poster
from editor.media.files import put_in_place
from editor.media.tag import tag_video
from editor.method.flops import run_flops
from editor.method.windows import ANCHORS
from editor.stages.footage import Footage
from editor.stages.full_rate import full_rate
from editor.stages.meter import UNET_STAGES
from editor.stages.quality import Gauge, at_size, looked_at, text_match
from editor.stages.session import Session, target_notes
from editor.stages.source import Source
from editor.stages.targets import Edited
from editor.stages.word_maps import write_word_maps

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "moviepy", "xformers")
FRAMES_PER_REPORT = 8
"""Progress while writing is told every so many frames, which is also where it can be stopped."""
HEADLINES = (
    "unet_evaluations_per_frame",
    "vae_psnr",
    "reconstruction_psnr",
    "kept_psnr",
    "flicker",
    "sharpness",
    "unfollowed",
    "text_match",
    "seconds",
    "frames",
    "keyframes",
    "inversion_cached",
    "withheld",
    "word_maps",
)


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """A scratch folder inside `out`, so that finished files can be moved; gone afterwards, whatever happens.

    A full disk becomes an `EditError`, and so does a folder that cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=out) as scratch:
            yield Path(scratch)
    except OSError as error:
        if is_disk_full(error):
            raise EditError(DISK_FULL) from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise EditError(
                f"Results cannot be written to '{out}': {error.strerror}. Choose another folder."
            ) from error
        raise


def write_results(
    session: Session, footage: Footage, edited: Edited, scratch: Path, out: Path
) -> tuple[EditResult, ...]:
    """Write the files of every target into its folder of `out`, with all frames of the clip's interval.

    Everything is written and checked in `scratch` first, and each manifest is moved last: where it is, all is whole. A
    target that the safety checker withholds has no result; where it withholds all that raises `EditError`.
    """
    drafts, refusal, parts = {}, None, len(session.plans)
    for index, plan in enumerate(session.plans):
        if edited.frames[index] is None:
            continue
        draft = EditResult(plan.target, scratch / str(index), {})
        draft.folder.mkdir()
        with session.meter.stage(Stage.WRITE, footage.clip.count, part=(index, parts)):
            try:
                drafts[index] = draft, _write_pictures(session, footage, edited, index, draft)
            except Withheld as error:
                refusal = error
                session.withheld.append(f"“{plan.target}”: {error}")
    if not drafts and refusal is not None:
        raise refusal
    return tuple(
        _in_place(draft, manifest(session, footage, edited, index) | found, out / str(index))
        for index, (draft, found) in drafts.items()
    )


def _in_place(draft: EditResult, record: dict[str, Any], folder: Path) -> EditResult:
    """The result of a `draft` whose pictures are written, in its `folder`, with its manifest."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    tag_video(draft.edited, tag_text(record), STATEMENT)
    draft.manifest.write_text(text + "\n", encoding="utf-8")
    draft = replace(draft, summary={key: record[key] for key in HEADLINES})
    result = replace(draft, folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    result.word_maps.unlink(missing_ok=True)  # those of an earlier edit in this folder
    put_in_place(zip(draft.files.values(), result.files.values(), strict=True))
    return result


def _acted(footage: Footage, edited: Edited, index: int) -> dict[str, Any] | None:
    """Where target `index` could act, for the page: masks of the model's cells, one per keyframe, packed row by row.

    Each is `size` (width, height) bits, the first the highest of its byte, in base64. None: anywhere.
    """
    mask = edited.sampled.masks[index]
    if mask is None:
        return None
    width, height = (math.ceil(side / footage.cell) for side in footage.fit.scaled)
    packed = (np.packbits(m[:height, :width].cpu().numpy()).tobytes() for m in mask)
    return {"size": [width, height], "masks": [base64.b64encode(p).decode() for p in packed]}


def _regions(footage: Footage, edited: Edited, index: int) -> Iterator[np.ndarray] | None:
    """Where target `index` may act on each keyframe, bool (H, W) at the clip's size; None: anywhere."""
    mask, cell = edited.sampled.masks[index], footage.cell
    if mask is None:
        return None
    shown = (unpad_frames(m[None].cpu().numpy().repeat(cell, 1).repeat(cell, 2), footage.fit)[0] for m in mask)
    return (at_size(region, footage.fit.clip) for region in shown)


def _write_pictures(
    session: Session, footage: Footage, edited: Edited, index: int, draft: EditResult
) -> dict[str, Any]:
    """Write both videos and the poster, frame by frame; what the manifest says of them."""
    clip, meter, lost = footage.clip, session.meter, []
    gauge = Gauge(_regions(footage, edited, index), looked_at(len(footage.frames)) if session.score else ())
    with (
        video_writer(draft.edited, clip.fps, footage.audio) as put,
        video_writer(draft.side_by_side, clip.fps, footage.audio) as put_both,
    ):
        for done, carried in enumerate(full_rate(session, footage, edited, index)):
            if done % FRAMES_PER_REPORT == 0:
                meter.step(done, clip.count)
            put(carried.frame)
            put_both(side_by_side(carried.source, carried.frame))
            gauge.add(carried)
            if done == clip.count // 2:
                write_poster(carried.frame, draft.poster)
            if not carried.keyframe:
                lost.append(carried.unfollowed)
    unfollowed = round(float(np.mean(lost)), 4) if lost else 0.0
    motion = {
        "keyframes": list(clip.keyframes.indices),
        "shots": 1 + max(clip.keyframes.shots),
        "carried": len(lost),
        "unfollowed": unfollowed,
        "agreement": session.request.agreement,
    }
    beside = {
        "acted": _acted(footage, edited, index),
        "word_maps": write_word_maps(footage, edited, index, draft.word_maps),
        **text_match(session.score, gauge.pairs, draft.target, session.request.source),
    }
    return {"motion": motion, "unfollowed": unfollowed, **gauge.numbers(), **beside}


def library_versions() -> dict[str, str | None]:
    """Versions of what computes the result; None for what is not installed. Imports nothing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def manifest(session: Session, footage: Footage, edited: Edited, index: int) -> dict[str, Any]:
    """The manifest of target `index`, as plain JSON values. Work and seconds are those of all targets together.

    `stage_unet_evaluations`, `vae_evaluations_per_frame` and `flops_per_frame` are per keyframe;
    `unet_evaluations_per_frame` is per frame of the result.
    """
    meter, plan, source, sampled = session.meter, session.plans[index], edited.source, edited.sampled
    mask, per_keyframe = sampled.masks[index], sum(meter.evaluations.values())
    return {
        "manifest": VERSION,
        "statement": STATEMENT,
        "request": session.asked.to_dict(),
        "numbers": {"values": session.request.numbers(), "origin": session.asked.origin()},
        "target": plan.target,
        "target_index": index,
        "control": {"method": plan.method, **plan.control.explanation()},
        "blend_coverage": None if mask is None else float(mask.float().mean()),
        "model": _model(session.models),
        "versions": library_versions(),
        "clip": _clip(footage),
        "frames": footage.clip.count,
        "keyframes": len(footage.frames),
        "window": session.memory.chunks.window,
        "inversion_cached": bool(source.cached),
        "seconds": round(meter.elapsed(), 3),
        "stage_seconds": {str(stage): round(spent, 3) for stage, spent in meter.seconds.items()},
        "stage_unet_evaluations": {str(stage): meter.evaluations.get(stage, 0.0) for stage in UNET_STAGES},
        "unet_evaluations_per_keyframe": round(per_keyframe, 6),
        "unet_evaluations_per_frame": round(per_keyframe * len(footage.frames) / footage.clip.count, 6),
        "vae_evaluations_per_frame": sampled.vae_evaluations,
        "flops_per_frame": _flops(session, footage, source),
        "vae_psnr": source.vae_psnr,
        "reconstruction_psnr": edited.reconstruction_psnr,
        "withheld": " ".join(session.withheld) or None,
        "notes": [
            *footage.notes,
            *session.notes,
            *session.withheld,
            *session.memory.notes,
            *session.models.kernel.refusals,
            *target_notes(session, index, sampled),
        ],
    }


def _flops(session: Session, footage: Footage, source: Source) -> dict[str, float]:
    """Floating-point operations of the run per edited frame; see `run_flops`."""
    done = session.meter.evaluations
    return run_flops(
        session.models.unet,
        session.models.vae,
        footage.fit.padded,
        min(len(footage.frames), (session.memory.chunks.window or len(footage.frames)) + ANCHORS),
        session.request,
        before=done.get(Stage.INVERT, 0.0) + done.get(Stage.NULL_TEXT, 0.0),
        edit=done.get(Stage.EDIT, 0.0),
        encoded="inversion" not in source.cached,
    )


def _model(models: Models) -> dict[str, Any]:
    return {
        "name": models.name,
        "revision": models.revision,
        "weights_hash": models.weights_hash,
        "additions": list(models.additions),
        "device": models.device.type,
        "device_reason": models.device_reason,
        "dtype": str(models.dtype).removeprefix("torch."),
        "dtype_reason": models.dtype_reason,
        "kernel": models.kernel.name,
        "kernel_reason": models.kernel.reason,
    }


def _clip(footage: Footage) -> dict[str, Any]:
    clip = footage.clip
    return {
        "sha256": footage.digest,
        "start": clip.start,
        "end": clip.end,
        "duration": clip.duration,
        "fps": clip.fps,
        "source_seconds": clip.source_seconds,
        "source_size": list(clip.source_size),
        "model_size": list(footage.fit.padded),
        "sound": clip.audio is not None,
    }
