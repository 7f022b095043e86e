"""The noise levels of a run and the two deterministic moves between neighbours (DDIM, arXiv 2010.02502, eq. 12).

Level i is what step i starts from: level 0 is the noisiest, level N (after the last of N steps) is clean. Latents of
level i are sqrt(a_i) x0 + sqrt(1 - a_i) eps with a_i = `alpha_bars[i]`.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from diffusers import DDIMScheduler

from editor.events import EditError

PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Schedule:
    """N steps: the timestep fed to the network at each, the N+1 levels, and what the network predicts."""

    timesteps: tuple[int, ...]
    alpha_bars: tuple[float, ...]
    prediction_type: str

    @property
    def steps(self) -> int:
        """N."""
        return len(self.timesteps)

    @classmethod
    def from_scheduler(cls, scheduler: DDIMScheduler, steps: int) -> Self:
        """Leading spacing with offset 1 over the scheduler's noise levels; the clean level is that of timestep 0.

        The scheduler itself is not changed. Raises `EditError` for more steps than it has levels for, and for
        networks that predict neither eps nor v.
        """
        kind = scheduler.config.prediction_type
        if kind not in PREDICTION_TYPES:
            raise EditError(
                f"This model predicts '{kind}'. Usable are models that predict {' or '.join(PREDICTION_TYPES)}."
            )
        trained = scheduler.config.num_train_timesteps
        if not 1 <= steps <= trained // 2:
            raise EditError(f"steps is {steps}. This model allows 1 to {trained // 2}.")
        stride = trained // steps
        timesteps = tuple(stride * i + 1 for i in reversed(range(steps)))
        levels = scheduler.alphas_cumprod.double()
        return cls(timesteps, tuple(float(levels[t]) for t in (*timesteps, 0)), kind)

    def eps(self, step: int, latents: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The noise that the network sees in `latents`, from its raw `output` at timestep `timesteps[step]`.

        v-prediction (arXiv 2202.00512, appendix D): eps = sqrt(a) v + sqrt(1-a) z. `a` is the level that belongs to
        the timestep the network was fed, also while inverting, where the latents are one level cleaner.
        """
        if self.prediction_type == "epsilon":
            return output
        a = self.alpha_bars[step]
        return math.sqrt(a) * output + math.sqrt(1 - a) * latents

    def clean(self, step: int, latents: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """The guess of the clean latents x0 from latents of level `step`."""
        a = self.alpha_bars[step]
        return (latents - math.sqrt(1 - a) * eps) / math.sqrt(a)

    def step(self, step: int, latents: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """From level `step` to the cleaner level `step + 1`."""
        keep, add = self._coefficients(step)
        return keep * latents + add * eps

    def unstep(self, step: int, latents: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """From level `step + 1` back to the noisier level `step`: the exact inverse of `step` at equal `eps`."""
        keep, add = self._coefficients(step)
        return (latents - add * eps) / keep

    def _coefficients(self, step: int) -> tuple[float, float]:
        """The step is linear: the share of the latents that stays, and of eps that is added (negative)."""
        a, cleaner = self.alpha_bars[step : step + 2]
        keep = math.sqrt(cleaner / a)
        return keep, math.sqrt(1 - cleaner) - keep * math.sqrt(1 - a)
