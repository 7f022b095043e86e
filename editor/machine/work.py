"""Work of every preset, counted by running it, and what that work is in FLOPs at SD 1.5's shape; and Stable Diffusion
1.5 and 2.1 in their true shape, with random weights: saved, loaded and run end to end.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from editor.diffusion.models import Models, load_models
from editor.machine.shapes import meta_parts, save_random
from editor.media import write_video
from editor.method.flops import run_flops, unet_flops
from editor.pipeline import edit
from editor.request import PRESETS, EditRequest
from editor.settings import Settings

SOURCE, SWAPS = "a red car on the road", ("a blue car on the road", "a green car on the road")
FRAMES, SIZE = 1, 64  # the count per frame does not depend on them
SHAPE_FRAMES, SHAPE_STEPS, SHAPE_SIZE = 2, 2, 256


def count_work(say: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Per preset: `unet_evaluations_per_frame` of a word swap, what a `second_target` adds, and FLOPs (`_flops`)."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        models = load_models(str(save_random("small", place / "model")), Settings(device="cpu"))
        clip = draw_clip(place / "clip.mp4")
        return {preset: _count(preset, clip, models, place, say) for preset in PRESETS}


def draw_clip(path: Path, frames: int = 8, side: int = 64, fps: float = 8.0) -> Path:
    """A square that crosses a shaded ground."""
    pictures = np.broadcast_to(np.linspace(40, 160, side, dtype=np.uint8)[None, None, :, None], (frames, side, side, 3))
    pictures = pictures.copy()
    third = side // 3
    for i in range(frames):
        left = i * (side - third) // max(1, frames - 1)
        pictures[i, third : 2 * third, left : left + third] = (210, 40, 30)
    write_video(pictures, fps, path)
    return path


def run_true_shapes(say: Callable[[str], None], shapes: tuple[str, ...] = ("sd15", "sd21")) -> dict[str, dict]:
    """For each shape what the manifest of an edit at 256 pixels, 2 steps, 2 frames says about its cost."""
    return {shape: run_shape(shape, say) for shape in shapes}


def run_shape(shape: str, say: Callable[[str], None]) -> dict[str, float]:
    """Save a checkpoint folder of random weights, load it, edit a drawn clip with it, and clean up."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        say(f"writing {shape} in its true shape, random weights, about 5 GB")
        checkpoint = save_random(shape, place / "model")
        say(f"loading {shape} and editing {SHAPE_FRAMES} frames at {SHAPE_SIZE} pixels in {SHAPE_STEPS} steps")
        models = load_models(str(checkpoint), Settings.from_env())
        request = EditRequest.from_preset(
            "balanced", source=SOURCE, targets=SWAPS[:1], steps=SHAPE_STEPS, max_frames=SHAPE_FRAMES, size=SHAPE_SIZE
        )
        (result,) = edit(draw_clip(place / "clip.mp4"), request, models, place / "out", previews=False)
        manifest = result.read_manifest()
    return {
        "seconds": manifest["seconds"],
        "unet_evaluations_per_frame": manifest["unet_evaluations_per_frame"],
        "unet_gflops_per_frame": manifest["flops_per_frame"]["unet"] / 1e9,
        "vae_gflops_per_frame": manifest["flops_per_frame"]["vae"] / 1e9,
    }


def _count(preset: str, clip: Path, models: Models, place: Path, say: Callable[[str], None]) -> dict[str, float]:
    """Run `preset` with one target and with two."""
    say(f"counting the work of preset {preset}")

    def run(targets: tuple[str, ...]) -> dict[str, Any]:
        request = EditRequest.from_preset(preset, source=SOURCE, targets=targets, max_frames=FRAMES, size=SIZE)
        return edit(clip, request, models, place / "out", previews=False)[0].read_manifest()

    one, two = run(SWAPS[:1]), run(SWAPS)
    return {
        "unet_evaluations_per_frame": one["unet_evaluations_per_frame"],
        "second_target": two["unet_evaluations_per_frame"] - one["unet_evaluations_per_frame"],
        **_flops(EditRequest.from_dict(one["request"]), one["stage_unet_evaluations"]),
    }


def _flops(request: EditRequest, stages: dict[str, float]) -> dict[str, float]:
    """The same run at SD 1.5's shape, 8 frames of 512 pixels, in units of one of its plain UNet evaluations.

    `flops_sd15`: everything, per edited frame. `frame_attention_sd15`: what attention across frames adds of that.
    `vae_sd15`: the VAE's part. `spatial_loss_share`: the part of the spatial loss, of everything.
    """
    unet, vae = meta_parts("sd15")
    unit = unet_flops(unet, 64, 64)
    before = stages["invert"] + stages["null_text"]
    counts = run_flops(unet, vae, (512, 512), 8, request, before=before, edit=stages["edit"], encoded=True)
    return {
        "flops_sd15": (counts["unet"] + counts["vae"] + counts["spatial_loss"]) / unit,
        "frame_attention_sd15": counts["frame_attention"] / unit,
        "vae_sd15": (counts["vae"] + counts["spatial_loss"]) / unit,
        "spatial_loss_share": counts["spatial_loss_share"],
    }
