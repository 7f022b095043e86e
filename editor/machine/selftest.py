"""`doctor --selftest`: the one command that proves a machine's path, above all CUDA and xformers.

Kernels against the plain one, half precision free of NaN at the true shape of Stable Diffusion 1.5, one edit from file
to file, and the memory it took.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from editor.diffusion.catalog import present
from editor.diffusion.kernels import KernelChoice, choose_kernel
from editor.diffusion.models import choose_device, choose_dtype, load_models, peak_memory
from editor.events import EditError
from editor.machine.doctor import Finding
from editor.machine.shapes import random_unet, save_random
from editor.machine.work import SOURCE, SWAPS, draw_clip
from editor.media import probe
from editor.method.attention import EditStep, attached, processors_for
from editor.pipeline import edit
from editor.request import EditRequest
from editor.settings import Settings

HEAD_SIZES = (40, 64, 80, 160)  # those of SD 1.5 and 2.1
TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2}
"""Largest difference of two kernels on outputs of order one: rounding of 10 mantissa bits, or of 23, over 256 terms."""


def kernels_are_equal(settings: Settings) -> list[Finding]:
    """Every kernel that can serve here against the plain one, at the head sizes of Stable Diffusion."""
    device, _ = choose_device(settings.device)
    dtype, _ = choose_dtype(device)
    plain, findings = KernelChoice("plain", ""), []
    for name in dict.fromkeys(("sdpa", *(("xformers",) if device.type == "cuda" else ()))):
        try:
            kernel = choose_kernel(device, dtype, name)
        except EditError as error:
            findings.append(Finding(f"kernel {name}", f"not in use: {error}"))
            continue
        worst = max(_difference(kernel, plain, size, device, dtype) for size in HEAD_SIZES)
        text = f"differs from the plain kernel by at most {worst:.1e} in {str(dtype).removeprefix('torch.')}"
        findings.append(Finding(f"kernel {name}", text, worst <= TOLERANCE[dtype]))
    return findings


def unet_is_finite(settings: Settings) -> list[Finding]:
    """One call of a UNet with random weights across frames, in the precision used here.

    On a GPU it has the true shape of Stable Diffusion 1.5; on the CPU, where float32 cannot overflow, a small one.
    """
    device, _ = choose_device(settings.device)
    dtype, _ = choose_dtype(device)
    shape = "small" if dtype == torch.float32 else "sd15"
    unet = random_unet(shape).to(device, dtype)
    kernel = choose_kernel(device, dtype, settings.attention)
    noise = torch.Generator().manual_seed(0)
    latents = torch.randn(4, 4, 32, 32, generator=noise).to(device, dtype)
    text = torch.randn(2, 77, unet.config.cross_attention_dim, generator=noise).to(device, dtype)
    with attached(unet, processors_for(unet, kernel, "sparse", "paper")), torch.no_grad():
        out = unet(latents, 500, text, cross_attention_kwargs={"edit": EditStep(2)}).sample
    finite = bool(torch.isfinite(out).all())
    verdict = "no NaN" if finite else "NaN: use EDITOR_DEVICE=cpu"
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


CHECKS = [kernels_are_equal, unet_is_finite, one_edit_end_to_end]


def _difference(
    kernel: KernelChoice, plain: KernelChoice, head_size: int, device: torch.device, dtype: torch.dtype
) -> float:
    """Largest difference of the two kernels on random input with 8 heads and 256 tokens."""
    noise = torch.Generator().manual_seed(head_size)
    query, key, value = torch.randn(3, 2, 256, 8, head_size, generator=noise).to(device, dtype).unbind()
    found = kernel.attend(query, key, value, head_size**-0.5).float()
    wanted = plain.attend(query.float(), key.float(), value.float(), head_size**-0.5)
    return float((found - wanted).abs().max())
