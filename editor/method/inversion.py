"""Inversion: the noise from which the deterministic sampler returns to the clip's own frames."""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.method.attention import attached, processors_for
from editor.method.denoiser import Denoiser, OnStep, clip_norms, unheard
from editor.method.schedule import Schedule


@dataclass(frozen=True)
class Trajectory:
    """The clip at every noise level (z*): `latents` (N+1, F, C, h, w) float32, noisiest first, the clip's own last.

    `unet_evaluations` is the work that finding it took, per frame.
    """

    latents: torch.Tensor
    unet_evaluations: float

    @property
    def steps(self) -> int:
        """N."""
        return len(self.latents) - 1

    @property
    def noisiest(self) -> torch.Tensor:
        """(F, C, h, w): what sampling starts from."""
        return self.latents[0]

    @property
    def clean(self) -> torch.Tensor:
        """(F, C, h, w): the clip's own latents."""
        return self.latents[-1]


@torch.no_grad()
def invert(
    unet: UNet2DConditionModel,
    schedule: Schedule,
    latents: torch.Tensor,
    embedding: torch.Tensor,
    *,
    kernel: KernelChoice = SDPA,
    chunk: int | None = None,
    as_published: bool = False,
    on_step: OnStep = unheard,
) -> Trajectory:
    """Run DDIM backwards from clean `latents` (F, C, h, w) with one text `embedding` (1, 77, d) and no guidance.

    The noise is taken at the timestep that is moved to (arXiv 2010.02502, section 4.3). Frames attend to themselves
    alone, so they run `chunk` at a time (default: all). `as_published`: see `denoiser.clip_norms`, as long as the clip
    runs in one piece. Raises `EditError` when the numbers overflow.
    """
    denoiser = Denoiser(unet, schedule)
    levels = [latents]
    whole = chunk is None or chunk >= len(latents)
    with attached(unet, processors_for(unet, kernel)), clip_norms(unet, len(latents), as_published and whole):
        for step in reversed(range(schedule.steps)):
            here = levels[-1]
            parts = [denoiser.eps(step, part[None], embedding)[0] for part in here.split(chunk or max(1, len(here)))]
            levels.append(schedule.unstep(step, here, torch.cat(parts)))
            on_step(schedule.steps - step, schedule.steps, None)
    return Trajectory(torch.stack(levels[::-1]), denoiser.evaluations(len(latents)))
