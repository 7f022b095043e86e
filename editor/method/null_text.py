"""Null-text optimisation: an "empty" embedding per step with which the guided sampler returns to the clip.

arXiv 2211.09794, algorithm 1; arXiv 2303.17599 shares one embedding among all frames.
"""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.diffusion.latents import require_finite
from editor.method.attention import attached, processors_for
from editor.method.branches import fitted_steps, guidance_at
from editor.method.denoiser import Denoiser, OnStep, clip_norms, unheard
from editor.method.inversion import Trajectory
from editor.method.schedule import Schedule
from editor.request import EditRequest, window_steps


@dataclass(frozen=True)
class NullText:
    """`embeddings` (N, 1, 77, d) float32: fitted on the steps of the window, the plain empty prompt's elsewhere.

    `errors`: mean squared latent error after the fit, per fitted step. `unet_evaluations`: the work, per frame.
    """

    embeddings: torch.Tensor
    errors: tuple[float, ...]
    unet_evaluations: float


@torch.no_grad()
def fit_null_text(
    unet: UNet2DConditionModel,
    schedule: Schedule,
    trajectory: Trajectory,
    source: torch.Tensor,
    empty: torch.Tensor,
    request: EditRequest,
    *,
    kernel: KernelChoice = SDPA,
    chunk: int | None = None,
    on_step: OnStep = unheard,
) -> NullText:
    """Fit under per-frame attention with the embeddings `source` and `empty`, both (1, 77, d).

    Latents advance with the plain empty prompt before the window and with the fitted embeddings inside it. As published
    they are fitted and advanced with on every step, though used in the window only. After the window nothing is run.
    Frames run `chunk` at a time (default: all). Raises `EditError` when the numbers overflow.
    """
    fitted, used = fitted_steps(request), window_steps(request.null_text_window, request.steps)
    null, latents, errors = empty.detach().float(), trajectory.noisiest, []
    fit = _Fit(Denoiser(unet, schedule), request, source, chunk or max(1, len(latents)))
    embeddings = [null] * schedule.steps
    frames = len(latents)
    whole = chunk is None or chunk >= frames
    with attached(unet, processors_for(unet, kernel)), clip_norms(unet, frames, request.as_published and whole):
        for step in range(fitted.stop if fitted else 0):
            text = None
            if step in fitted:
                text = fit.eps(step, latents, source)
                null, error = fit.embedding(step, latents, text, trajectory.latents[step + 1], null)
                errors.append(error)
                if step in used:
                    embeddings[step] = null
            if step + 1 < fitted.stop or request.as_published:
                latents = fit.advance(step, latents, null, text)
            on_step(step + 1, fitted.stop, None)
    return NullText(torch.stack(embeddings), tuple(errors), fit.denoiser.evaluations(frames))


@dataclass(frozen=True)
class _Fit:
    """The parts of the fit that stay the same from step to step."""

    denoiser: Denoiser
    request: EditRequest
    source: torch.Tensor
    chunk: int

    def eps(self, step: int, latents: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Noise (F, C, h, w) in `latents` (F, C, h, w)."""
        return torch.cat([self.denoiser.eps(step, z[None], embedding)[0] for z in latents.split(self.chunk)])

    def embedding(
        self, step: int, latents: torch.Tensor, text: torch.Tensor, wanted: torch.Tensor, null: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """The embedding with which the guided step from `latents` comes nearest to `wanted`, and the error left.

        Adam with a falling rate; stops early when the error is small. `text` is the noise with the source prompt.
        """
        steps = self.denoiser.schedule.steps
        null = null.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([null], lr=1e-2 * (1 - step / (2 * steps)))
        enough = 1e-5 + 2e-5 * step * 50 / steps
        error = 0.0
        for _ in range(self.request.null_text_inner_steps):
            null.grad, error = self._gradient(step, latents, text, wanted, null)
            optimiser.step()
            require_finite(null.detach(), f"fitting the null text (step {step + 1} of {steps})")
            if error < enough:
                break
        return null.detach(), error

    def _gradient(
        self, step: int, latents: torch.Tensor, text: torch.Tensor, wanted: torch.Tensor, null: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """The gradient (1, T, d) of the mean squared error, and that error; chunk by chunk of the frames."""
        guidance, schedule = guidance_at(self.request, step), self.denoiser.schedule
        # in half precision the gradient of a mean underflows on its way through the UNet: scale it up, and back here
        lift = 1.0 if self.denoiser.unet.dtype.itemsize > 2 else 2.0 ** (wanted.numel().bit_length() - 1)
        gradient, error = torch.zeros_like(null), 0.0
        for z, t, w in zip(*(x.split(self.chunk) for x in (latents, text, wanted)), strict=True):
            with torch.enable_grad():
                base = self.denoiser.eps(step, z[None], null)[0]
                loss = (schedule.step(step, z, base + guidance * (t - base)) - w).square().sum() / wanted.numel()
                gradient += torch.autograd.grad(loss * lift, null)[0] / lift
            self.denoiser.backwards += len(z)
            error += float(loss.detach())
        return gradient, error

    def advance(self, step: int, latents: torch.Tensor, null: torch.Tensor, text: torch.Tensor | None) -> torch.Tensor:
        """The guided step to the next level. The noise `text` is used again, but for runs as published."""
        guidance = guidance_at(self.request, step)
        if text is None or self.request.as_published:
            text = self.eps(step, latents, self.source)
        if guidance != 1.0:
            base = self.eps(step, latents, null)
            text = base + guidance * (text - base)
        return self.denoiser.schedule.step(step, latents, text)
