"""What a result says about itself: everything needed to repeat it, to judge it, and to know what it cost."""

from typing import Any

from editor.diffusion.models import Models
from editor.events import Stage
from editor.flops import unet_flops, vae_flops
from editor.method.branches import spatial_steps
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
        "flops_per_frame": flops(session, footage, source, sampled),
        "vae_psnr": source.vae_psnr,
        "reconstruction_psnr": reconstruction,
        "notes": [*footage.notes, *session.notes, *session.memory.notes, *target_notes(session, index, sampled)],
    }


def flops(session: Session, footage: Footage, source: Source, sampled: Sampled) -> dict[str, float]:
    """Floating-point operations of the run per edited frame, counted on shapes.

    `unet`: all UNet evaluations under the attention they ran with. `frame_attention`: the part of it that attention
    across frames adds. `vae`: there, back for the check, and back for each target. `spatial_loss`: the VAE's work for
    the loss; `spatial_loss_share`: its part of everything.
    """
    models, request, meter = session.models, session.request, session.meter
    width, height = footage.fit.padded
    cells = height // models.vae_factor, width // models.vae_factor
    plain = unet_flops(models.unet, *cells)
    layout = (request.frame_attention, request.dense_layers)
    across = unet_flops(models.unet, *cells, len(footage.frames), *layout)
    vae = vae_flops(models.vae, height, width)
    before = meter.evaluations.get(Stage.INVERT, 0.0) + meter.evaluations.get(Stage.NULL_TEXT, 0.0)
    edit = meter.evaluations.get(Stage.EDIT, 0.0)
    descents = len(spatial_steps(request)) * len(session.plans)
    coded = 0.0 if "inversion" in source.cached else vae["encode"] + vae["decode"]
    counts = {
        "unet": before * plain + edit * across,
        "frame_attention": edit * (across - plain),
        "vae": coded + len(session.plans) * vae["decode"],
        "spatial_loss": descents * (vae["decode"] + vae["decode_backward"]),
    }
    everything = counts["unet"] + counts["vae"] + counts["spatial_loss"]
    return {**counts, "spatial_loss_share": counts["spatial_loss"] / everything}


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
