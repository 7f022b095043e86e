"""The one place where the method calls the UNet, and where that work is counted."""

from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel

from editor.diffusion.latents import require_finite
from editor.method.attention import EditStep
from editor.method.branches import BACKWARD
from editor.method.schedule import Schedule

OnStep = Callable[[int, int, torch.Tensor | None], None]
"""on_step(done, steps, guess): after each step. `guess` are the targets' clean latents as the step sees them,
(targets, F, C, h, w), or None where nothing is denoised. It may raise: that is how a run is cancelled."""


def unheard(done: int, steps: int, guess: torch.Tensor | None) -> None:
    """An `OnStep` that nobody listens to."""


class Denoiser:
    """A UNet on a schedule, with a count of its single-frame passes: rows x frames, forward and backward."""

    def __init__(self, unet: UNet2DConditionModel, schedule: Schedule) -> None:
        self.unet = unet
        self.schedule = schedule
        self.forwards = 0
        self.backwards = 0

    def eps(
        self, step: int, latents: torch.Tensor, embeddings: torch.Tensor, edit: EditStep | None = None
    ) -> torch.Tensor:
        """Noise (R, F, C, h, w) in `latents` (R, F, C, h, w), one embedding (R, 77, d) per row, in float32 or wider.

        The UNet is fed `timesteps[step]` whatever level the latents have. Raises `EditError` on NaN.
        """
        batch = latents.flatten(0, 1)
        dtype = self.unet.dtype
        output = self.unet(
            batch.to(dtype),
            self.schedule.timesteps[step],
            encoder_hidden_states=embeddings.to(dtype),
            cross_attention_kwargs={"edit": edit},
            return_dict=False,
        )[0]
        self.forwards += len(batch)
        require_finite(output, f"denoising (step {step + 1} of {self.schedule.steps})")
        return self.schedule.eps(step, latents, output.to(latents.dtype).view_as(latents))

    def evaluations(self, frames: int) -> float:
        """The work so far in UNet evaluations per frame of a clip of `frames` frames."""
        return round((self.forwards + BACKWARD * self.backwards) / frames, 3)
