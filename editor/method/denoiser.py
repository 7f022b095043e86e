"""The one place where the method calls the UNet and counts that work; guidance's threshold; norms over a whole clip."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from editor.diffusion.latents import require_finite
from editor.method.attention import EditStep
from editor.method.branches import BACKWARD
from editor.method.schedule import Schedule

OnStep = Callable[[int, int, torch.Tensor | None], None]
"""on_step(done, steps, guess): after each step. `guess` are the targets' clean latents as the step sees them,
(targets, F, C, h, w), or None where nothing is denoised. It may raise: that is how a run is cancelled."""


OnFrames = Callable[[int, int], None]
"""on_frames(done, through): within a step, after `done` whole ones, that many frames are through. It may raise too."""


def unheard(done: int, steps: int, guess: torch.Tensor | None) -> None:
    """An `OnStep` that nobody listens to."""


def uncounted(done: int, through: int) -> None:
    """An `OnFrames` that nobody listens to."""


XL_FACTOR = 8
"""Pixels per latent cell along one axis, of every VAE of Stable Diffusion XL."""


def text_inputs(
    unet: UNet2DConditionModel, embeddings: torch.Tensor, frames: int, size: tuple[int, int]
) -> dict[str, Any]:
    """What the UNet is told beside latents and timestep, from `embeddings` (R, T, d) of rows of `frames` frames each.

    Stable Diffusion XL also gets the pooled embedding, which is the last of the T rows (`prompts.embed_xl`), and the
    picture's size in pixels, uncropped, for every frame; `size` is the latents' (h, w).
    """
    if unet.config.addition_embed_type != "text_time":
        return {"encoder_hidden_states": embeddings}
    width = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    pooled = embeddings[:, -1, :width].repeat_interleave(frames, dim=0)
    height, across = (side * XL_FACTOR for side in size)
    sizes = torch.tensor([height, across, 0, 0, height, across], dtype=embeddings.dtype, device=embeddings.device)
    added = {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), 6)}
    return {"encoder_hidden_states": embeddings[:, :-1], "added_cond_kwargs": added}


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
        """Noise (R, F, C, h, w) in `latents` (R, F, C, h, w), one embedding (R, T, d) per row, in float32 or wider.

        The UNet is fed `timesteps[step]` whatever level the latents have. Raises `EditError` on NaN.
        """
        batch = latents.flatten(0, 1)
        dtype = self.unet.dtype
        output = self.unet(
            batch.to(dtype),
            self.schedule.timesteps[step],
            **text_inputs(self.unet, embeddings.to(dtype), latents.shape[1], latents.shape[-2:]),
            cross_attention_kwargs={"edit": edit},
            return_dict=False,
        )[0]
        self.forwards += len(batch)
        require_finite(output, f"denoising (step {step + 1} of {self.schedule.steps})")
        return self.schedule.eps(step, latents, output.to(latents.dtype).view_as(latents))

    def evaluations(self, frames: int) -> float:
        """The work so far in UNet evaluations per frame of a clip of `frames` frames."""
        return round((self.forwards + BACKWARD * self.backwards) / frames, 3)


def proximal(difference: torch.Tensor, quantile: float) -> torch.Tensor:
    """The `difference` of noise (M, F, C, h, w) without the smallest `quantile` of each target's values over the clip.

    The hard threshold of ProxNPI (arXiv 2306.05414, section 3.2): where the prompts hardly differ, nothing is pushed.
    """
    if quantile == 0:
        return difference
    size = difference.abs()
    flat = size.flatten(1)
    least = flat.kthvalue(max(1, round(quantile * flat.shape[1])), dim=1).values.view(-1, 1, 1, 1, 1)
    return torch.where(size >= least, difference, 0.0)


@contextmanager
def clip_norms(unet: UNet2DConditionModel, frames: int, wanted: bool = True) -> Iterator[None]:
    """Let the norms of the ResNet blocks and the output take their statistics over all `frames` of a row at once.

    In the authors' code (arXiv 2303.17599) a clip passes through them as one five-dimensional tensor; the norms before
    attention see single frames there as here. Every call must hold whole rows of `frames` frames. Without `wanted`
    nothing changes.
    """

    def over_clip(norm: torch.nn.GroupNorm, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        rows = inputs[0].unflatten(0, (-1, frames)).transpose(1, 2)
        normed = F.group_norm(rows, norm.num_groups, norm.weight, norm.bias, norm.eps)
        return normed.transpose(1, 2).flatten(0, 1)

    handles = [
        module.register_forward_hook(over_clip)
        for name, module in unet.named_modules()
        if wanted and isinstance(module, torch.nn.GroupNorm) and (".resnets." in name or name == "conv_norm_out")
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
