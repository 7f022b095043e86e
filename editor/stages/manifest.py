"""What a result says about itself: everything needed to repeat it, to judge it, and to know what it cost."""

from typing import Any

from editor.diffusion.models import Models
from editor.events import Stage
from editor.method.flops import run_flops
from editor.method.sampling import Sampled
from editor.stages.footage import Footage
from editor.stages.meter import UNET_STAGES
from editor.stages.results import library_versions
from editor.stages.session import Session, target_notes
from editor.stages.source import Source


def manifest(
    session: Session, footage: Footage, source: Source, sampled: Sampled, index: int, reconstruction: float | None
) -> dict[str, Any]:
    """The manifest of target `index`, as plain JSON values. Work and seconds are those of all targets together."""
    meter, plan, mask = session.meter, session.plans[index], sampled.masks[index]
    return {
        "request": session.request.to_dict(),
        "target": plan.target,
        "target_index": index,
        "control": {"method": plan.method, "kind": plan.kind, "window": list(plan.window)},
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
        "reconstruction_psnr": reconstruction,
        "notes": [*footage.notes, *session.notes, *session.memory.notes, *target_notes(session, index, sampled)],
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
