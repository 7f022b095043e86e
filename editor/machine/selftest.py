"""`doctor --selftest`: the one command that proves a machine's path, above all CUDA and xformers.

Kernels against the plain one, half precision free of NaN at the true shape of Stable Diffusion 1.5, one edit from file
to file, and the memory it took.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from editor.diffusion.catalog import present
from editor.diffusion.kernels import HEAD_SIZES, KERNELS, TOLERANCE, choose_kernel, kernel_error
from editor.diffusion.models import choose_device, choose_dtype, load_models, peak_memory
from editor.machine.doctor import Finding
from editor.machine.shapes import random_unet, save_random
from editor.machine.work import SOURCE, SWAPS, draw_clip
from editor.media import probe
from editor.method.attention import EditStep, attached, processors_for
from editor.pipeline import edit
from editor.request import EditRequest
from editor.settings import Settings


def kernels_are_equal(settings: Settings) -> list[Finding]:
    """Every kernel that can serve here against the definition: all precisions, head sizes of Stable Diffusion, forward
    and backward."""
    device, _ = choose_device(settings.device)
    used, _ = choose_dtype(device, settings.dtype)
    on_cuda = device.type == "cuda"
    findings = []
    for name in ("sdpa", "xformers") if on_cuda else ("sdpa",):
        for dtype in (torch.float32, torch.bfloat16, *((torch.float16,) if on_cuda else ())):
            shown = f"kernel {name} {str(dtype).removeprefix('torch.')}"
            try:
                worst = max(kernel_error(KERNELS[name], size, device, dtype) for size in HEAD_SIZES)
            except (ImportError, OSError, RuntimeError, ValueError) as error:
                # xformers has no float32 kernel on newer cards; SDPA serves what it cannot
                asked = dtype == used and name == settings.attention
                findings.append(Finding(shown, f"not in use: {str(error).splitlines()[0]}", False if asked else None))
                continue
            text = f"forward and backward differ from the definition by at most {worst:.1e}"
            findings.append(Finding(shown, text, worst <= TOLERANCE[dtype]))
    return findings


def unet_is_finite(settings: Settings) -> list[Finding]:
    """One call of a UNet with random weights across frames, in the precision used here.

    On a GPU it has the true shape of Stable Diffusion 1.5; on the CPU, where float32 cannot overflow, a small one.
    """
    device, _ = choose_device(settings.device)
    dtype, _ = choose_dtype(device, settings.dtype)
    shape = "small" if dtype == torch.float32 else "sd15"
    unet = random_unet(shape).to(device, dtype)
    kernel = choose_kernel(device, dtype, settings.attention)
    noise = torch.Generator().manual_seed(0)
    latents = torch.randn(4, 4, 32, 32, generator=noise).to(device, dtype)
    text = torch.randn(2, 77, unet.config.cross_attention_dim, generator=noise).to(device, dtype)
    with attached(unet, processors_for(unet, kernel, "sparse", "paper")), torch.no_grad():
        out = unet(latents, 500, text, cross_attention_kwargs={"edit": EditStep(2)}).sample
    finite = bool(torch.isfinite(out).all())
    verdict = "no NaN" if finite else "NaN: use EDITOR_DTYPE=bfloat16 or float32"
    return [Finding("UNet", f"shape {shape} in {str(dtype).removeprefix('torch.')}: {verdict}", finite)]


def one_edit_end_to_end(settings: Settings) -> list[Finding]:
    """A drawn clip through the whole journey, with the built-in model or, where it is missing, random weights."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        name = "demo" if present("demo") else str(save_random("small", place / "model"))
        models = load_models(name, settings)
        request = EditRequest.from_preset(source=SOURCE, targets=SWAPS[:1], max_frames=4, steps=5)
        began = time.monotonic()
        (result,) = edit(draw_clip(place / "clip.mp4", side=96), request, models, place / "out")
        spent, frames = time.monotonic() - began, probe(result.edited).frames
        notes = result.read_manifest()["notes"]
    peak = peak_memory(models.device)
    memory = "" if peak is None else f", at most {peak / 1e9:.2f} GB on the device"
    weights = "the built-in model" if name == "demo" else "random weights"
    text = f"{frames} frames with {weights} in {spent:.1f} s{memory}"
    return [Finding("one edit", text, frames == 4), *(Finding("", note) for note in notes)]


def what_to_look_at(settings: Settings) -> list[Finding]:
    """What the lines above mean to somebody with a GPU."""
    device, _ = choose_device(settings.device)
    if device.type != "cuda":
        return [Finding("for a GPU", "nothing of it was tried: run this on the machine that has one")]
    return [
        Finding("for a GPU", "kernel marked BAD: EDITOR_ATTENTION=sdpa; UNet marked BAD: EDITOR_DTYPE=bfloat16"),
        Finding("", "out of memory: fewer frames, EDITOR_OFFLOAD=model, or a smaller --size; the log names the stage"),
    ]


CHECKS = [kernels_are_equal, unet_is_finite, one_edit_end_to_end, what_to_look_at]
