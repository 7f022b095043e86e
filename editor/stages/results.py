"""What an edit leaves behind: two videos, a poster, and the manifest, which says everything needed to repeat it, to
judge it, and to know what it cost. All are moved into place when all are whole.
"""

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from editor.diffusion.models import Models
from editor.events import DISK_FULL, EditError, EditResult, Stage, is_disk_full
from editor.media import side_by_side, write_poster, write_video
from editor.media.files import put_in_place
from editor.method.flops import run_flops
from editor.stages.footage import Footage
from editor.stages.meter import UNET_STAGES
from editor.stages.session import Session, target_notes
from editor.stages.source import Source
from editor.stages.targets import Edited

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "moviepy", "xformers")
HEADLINES = (
    "unet_evaluations_per_frame",
    "vae_psnr",
    "reconstruction_psnr",
    "seconds",
    "frames",
    "inversion_cached",
    "withheld",
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


def write_result(
    folder: Path, scratch: Path, footage: Footage, frames: np.ndarray, target: str, manifest: dict[str, Any]
) -> EditResult:
    """Write the files of one target into `folder`. `frames` uint8 (F, H, W, 3) have the clip's own size.

    Everything is written and checked in `scratch` first, and the manifest is moved last: where it is, all is whole.
    """
    clip = footage.clip
    result = EditResult(target, folder, {key: manifest[key] for key in HEADLINES})
    draft = EditResult(target, scratch, {})
    write_video(frames, clip.fps, draft.edited, footage.audio)
    write_video(side_by_side(clip.frames, frames), clip.fps, draft.side_by_side, footage.audio)
    write_poster(frames, draft.poster)
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    draft.manifest.write_text(text + "\n", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    put_in_place(zip(draft.files.values(), result.files.values(), strict=True))
    return result


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
    """The manifest of target `index`, as plain JSON values. Work and seconds are those of all targets together."""
    meter, plan, source, sampled = session.meter, session.plans[index], edited.source, edited.sampled
    mask = sampled.masks[index]
    return {
        "request": session.request.to_dict(),
        "numbers": {"values": session.request.numbers(), "origin": session.request.origin()},
        "target": plan.target,
        "target_index": index,
        "control": {"method": plan.method, **plan.control.explanation()},
        "blend_coverage": None if mask is None else float(mask.float().mean()),
        "model": _model(session.models),
        "versions": library_versions(),
        "clip": _clip(footage),
        "frames": len(footage.frames),
        "inversion_cached": bool(source.cached),
        "seconds": round(meter.elapsed(), 3),
        "stage_seconds": {str(stage): round(spent, 3) for stage, spent in meter.seconds.items()},
        "stage_unet_evaluations": {str(stage): meter.evaluations.get(stage, 0.0) for stage in UNET_STAGES},
        "unet_evaluations_per_frame": round(sum(meter.evaluations.values()), 6),
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
        len(footage.frames),
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
        "source_fps": clip.source_fps,
        "source_seconds": clip.source_seconds,
        "source_size": list(clip.source_size),
        "model_size": list(footage.fit.padded),
        "sound": clip.audio is not None,
    }
