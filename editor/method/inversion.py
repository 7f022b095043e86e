"""Inversion: the noise from which the deterministic sampler returns to the clip's own frames."""

from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import UNet2DConditionModel

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.diffusion.memory import give_back
from editor.method.attention import attached, processors_for
from editor.method.denoiser import Denoiser, OnFrames, OnStep, clip_norms, uncounted, unheard
from editor.method.schedule import Schedule


class Levels(Protocol):
    """Latents (F, C, h, w) by noise level, kept somewhere else than on the device that asks for them."""

    def __len__(self) -> int: ...

    def __getitem__(self, level: int) -> torch.Tensor: ...

    def __setitem__(self, level: int, latents: torch.Tensor) -> None: ...


@dataclass(frozen=True)
class Trajectory:
    """The clip at every noise level (z*): `latents` (N+1, F, C, h, w) float32, noisiest first, the clip's own last.

    They are a tensor, or `Levels` that are fetched one by one. `unet_evaluations` is the work that finding it took, per
    frame.
    """

    latents: torch.Tensor | Levels
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
    levels: Levels | None = None,
    on_step: OnStep = unheard,
    on_frames: OnFrames = uncounted,
) -> Trajectory:
    """Run DDIM backwards from clean `latents` (F, C, h, w) with one text `embedding` (1, 77, d) and no guidance.

    The noise is taken at the timestep that is moved to (arXiv 2010.02502, section 4.3). Frames attend to themselves
    alone, so they run `chunk` at a time (default: all). `as_published`: see `denoiser.clip_norms`, as long as the clip
    runs in one piece. `levels` are filled if given, otherwise a tensor. Raises `EditError` when the numbers overflow.
    """
    denoiser = Denoiser(unet, schedule)
    kept = latents.new_empty(schedule.steps + 1, *latents.shape) if levels is None else levels
    whole, frames = chunk is None or chunk >= len(latents), len(latents)
    here = kept[schedule.steps] = latents
    with attached(unet, processors_for(unet, kernel)), clip_norms(unet, frames, as_published and whole):
        for done, step in enumerate(reversed(range(schedule.steps))):
            parts = []
            for part in here.split(chunk or max(1, frames)):
                parts.append(denoiser.eps(step, part[None], embedding)[0])
                on_frames(done, min(frames, len(parts) * (chunk or frames)))
                if not whole:
                    give_back()
            here = kept[step] = schedule.unstep(step, here, torch.cat(parts))
            on_step(done + 1, schedule.steps, None)
    return Trajectory(kept, denoiser.evaluations(frames))


@torch.no_grad()
def noised(schedule: Schedule, latents: torch.Tensor, levels: Levels | None = None, seed: int = 0) -> Trajectory:
    """Clean `latents` (F, C, h, w) with one fixed noise at every level: no inversion, and no work of the UNet.

    The virtual inversion of InfEdit (arXiv 2312.04965, section 3.2). All frames share the noise, drawn on the CPU from
    `seed`: with noise of its own for each, edits flicker. `levels` are filled if given, otherwise a tensor.
    """
    noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(seed)).to(latents)
    kept = latents.new_empty(schedule.steps + 1, *latents.shape) if levels is None else levels
    kept[schedule.steps] = latents
    for step in range(schedule.steps):
        level = schedule.alpha_bars[step]
        kept[step] = level**0.5 * latents + (1 - level) ** 0.5 * noise
    return Trajectory(kept, 0.0)
