"""Stable Diffusion 1.5 and 2.1 in their true shape, with random weights: saved, loaded and run end to end."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from editor.diffusion.models import load_models
from editor.machine.shapes import save_random
from editor.machine.work import SOURCE, SWAPS, draw_clip
from editor.pipeline import edit
from editor.request import EditRequest
from editor.settings import Settings
from editor.stages.results import read_manifest

FRAMES, STEPS, SIZE = 2, 2, 256


def run_true_shapes(say: Callable[[str], None], shapes: tuple[str, ...] = ("sd15", "sd21")) -> dict[str, dict]:
    """For each shape what the manifest of an edit at 256 pixels, 2 steps, 2 frames says about its cost."""
    return {shape: run_shape(shape, say) for shape in shapes}


def run_shape(shape: str, say: Callable[[str], None]) -> dict[str, float]:
    """Save a checkpoint folder of random weights, load it, edit a drawn clip with it, and clean up."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        say(f"writing {shape} in its true shape, random weights, about 5 GB")
        checkpoint = save_random(shape, place / "model")
        say(f"loading {shape} and editing {FRAMES} frames at {SIZE} pixels in {STEPS} steps")
        models = load_models(str(checkpoint), Settings.from_env())
        request = EditRequest.from_preset(
            "balanced", source=SOURCE, targets=SWAPS[:1], steps=STEPS, max_frames=FRAMES, size=SIZE
        )
        (result,) = edit(draw_clip(place / "clip.mp4"), request, models, place / "out", previews=False)
        manifest = read_manifest(result)
    return {
        "seconds": manifest["seconds"],
        "unet_evaluations_per_frame": manifest["unet_evaluations_per_frame"],
        "unet_gflops_per_frame": manifest["flops_per_frame"]["unet"] / 1e9,
        "vae_gflops_per_frame": manifest["flops_per_frame"]["vae"] / 1e9,
    }
