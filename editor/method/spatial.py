"""The spatial loss: pixels and image gradients of the decoded guess against the original frames.

The customer's summary of arXiv 2303.17599 describes the spatial module this way: L = l1 L_pix + l2 L_grad, both mean
squares, and a descent step on the latents. Differs from it: the loss looks at the guess of the clean frame, not at the
noisy latents, which have no pixels to compare.
"""

import math
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL

from editor.method.branches import BACKWARD


@dataclass(frozen=True)
class SpatialLoss:
    """The loss against `frames` (F, 3, H, W) in -1..1. Decodes `chunk` frames at a time to bound memory."""

    vae: AutoencoderKL
    frames: torch.Tensor
    pixel_weight: float
    gradient_weight: float
    chunk: int = 2

    def __call__(self, pixels: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """The loss of each frame, (F,), for decoded `pixels` and originals `frames`, both (F, 3, H, W)."""
        difference = pixels - frames
        down, right = (
            difference.diff(dim=2),
            difference.diff(dim=3),
        )  # gradients are linear: gradients of the difference
        loss = self.pixel_weight * difference.square().mean(dim=(1, 2, 3))
        if self.gradient_weight:
            edges = sum(d.square().mean(dim=(1, 2, 3)) for d in (down, right) if d.numel())
            loss = loss + self.gradient_weight * edges
        return loss

    def gradient(self, latents: torch.Tensor, eps: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        """d loss / d latents for latents (F, C, h, w) of level `alpha_bar`, `eps` held constant.

        The guess is x0 = (z - sqrt(1-a) eps) / sqrt(a), so the gradient at x0 is divided by sqrt(a).
        """
        parts = []
        for z, e, frames in zip(*(x.split(self.chunk) for x in (latents, eps, self.frames)), strict=True):
            clean = ((z - math.sqrt(1 - alpha_bar) * e) / math.sqrt(alpha_bar)).detach().requires_grad_(True)
            with torch.enable_grad():
                loss = self(self.decode(clean), frames.to(clean)).sum()
                parts.append(torch.autograd.grad(loss, clean)[0] / math.sqrt(alpha_bar))
        return torch.cat(parts)

    def descent(self, latents: torch.Tensor, eps: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        """The step to subtract from `latents`: the gradient times the cells per channel.

        A mean over all pixels has gradients that shrink with the picture; with h*w a weight means the same at any size.
        """
        return latents.shape[-2] * latents.shape[-1] * self.gradient(latents, eps, alpha_bar)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels (F, 3, H, W) of clean latents, differentiable."""
        config = self.vae.config
        shifted = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
        return self.vae.decode(shifted.to(self.vae.dtype)).sample.to(latents.dtype)

    @property
    def evaluations_per_step(self) -> float:
        """VAE decoder passes that one descent step takes per frame, forward 1 and backward as for the UNet."""
        return 1 + BACKWARD
