"""Group norms over a whole clip, as the authors of arXiv 2303.17599 run them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel


@contextmanager
def clip_norms(unet: UNet2DConditionModel, frames: int, wanted: bool = True) -> Iterator[None]:
    """Let the norms of the ResNet blocks and the output take their statistics over all `frames` of a row at once.

    In the authors' code a clip passes through them as one five-dimensional tensor; the norms before attention see
    single frames there as here. Every call must hold whole rows of `frames` frames. Without `wanted` nothing changes.
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
