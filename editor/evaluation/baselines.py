"""Yardsticks that do not use the method: what nothing, the VAE alone, and plain noising give."""

from collections.abc import Sequence

import numpy as np
import torch

from editor.diffusion.latents import decode_latents, encode_frames
from editor.diffusion.models import Models
from editor.diffusion.prompts import embed
from editor.method.attention import attached, processors_for
from editor.method.branches import guidance_at
from editor.method.denoiser import Denoiser
from editor.method.schedule import Schedule
from editor.request import EditRequest, window_steps

CHUNK = 4
"""Frames that the VAE takes at a time."""


def round_trip(frames: np.ndarray, models: Models) -> np.ndarray:
    """`frames` uint8 (F, H, W, 3), encoded and decoded."""
    return decode_latents(models.vae, encode_frames(models.vae, frames, CHUNK, models.device), CHUNK)


@torch.no_grad()
def sdedit(
    frames: np.ndarray, request: EditRequest, strength: float, models: Models, seed: int = 0
) -> tuple[list[np.ndarray], float]:
    """SDEdit (Meng et al., arXiv 2108.01073): noise the clip, then denoise it with each target prompt.

    Starts after the part `1 - strength` of the steps, from sqrt(a) z0 + sqrt(1-a) noise with noise of its own for
    every frame, drawn on the CPU from `seed`. Frames do not see each other. Differs from the paper: deterministic
    steps and classifier-free guidance against the empty prompt, as in Stable Diffusion's image-to-image.
    Returns uint8 (F, H, W, 3) per target and the UNet evaluations per frame of one target.
    """
    schedule = Schedule.from_scheduler(models.scheduler, request.steps)
    steps = window_steps((1 - strength, 1.0), request.steps)
    clean = encode_frames(models.vae, frames, CHUNK, models.device)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean)
    a = schedule.alpha_bars[steps.start]
    noisy = a**0.5 * clean + (1 - a) ** 0.5 * noise
    texts = embed(models.tokenizer, models.text_encoder, ["", *request.targets], models.device)
    denoiser = Denoiser(models.unet, schedule)
    edits = []
    with attached(models.unet, processors_for(models.unet, models.kernel)):
        for text in texts[1:]:
            edits.append(_denoised(denoiser, noisy, torch.stack([texts[0], text]), request, steps))
    frames_out = [decode_latents(models.vae, latents, CHUNK) for latents in edits]
    return frames_out, denoiser.evaluations(len(frames)) / len(edits)


def _denoised(
    denoiser: Denoiser, latents: torch.Tensor, texts: torch.Tensor, request: EditRequest, steps: Sequence[int]
) -> torch.Tensor:
    """Latents (F, C, h, w) taken through `steps`, guided from `texts[0]` towards `texts[1]`."""
    for step in steps:
        empty, text = denoiser.eps(step, torch.stack([latents, latents]), texts)
        latents = denoiser.schedule.step(step, latents, empty + guidance_at(request, step) * (text - empty))
    return latents
