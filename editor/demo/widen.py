"""A trained UNet in a wider one, so that training a larger net need not begin from nothing.

After Net2Net (arXiv 1511.05641): every new channel is a copy of an old one, and whoever reads the copies shares the old
weight among them, in random parts, so that the copies learn different things. Where all widths double the function
stays exactly as it was; other widths change it a little, through the group norms, and training mends that soon.
"""

import torch
from diffusers import UNet2DConditionModel

from editor.demo.components import HEAD

WIDENED_TIME = ("time_embedding.linear_1.weight",)


@torch.no_grad()
def widen(old: UNet2DConditionModel, new: UNet2DConditionModel, seed: int = 0) -> UNet2DConditionModel:
    """Fill `new`, of the same blocks and the same channels per head but not narrower anywhere, from `old`.

    Returns `new`. Raises `ValueError` where a level is narrower or the finest one is no multiple of the old one.
    """
    widths = tuple(zip(old.config.block_out_channels, new.config.block_out_channels, strict=True))
    if any(b < a for a, b in widths) or widths[0][1] % widths[0][0]:
        raise ValueError(f"cannot widen {old.config.block_out_channels} to {new.config.block_out_channels}")
    generator = torch.Generator().manual_seed(seed)
    weights, parts = old.state_dict(), _concatenated(old, new)
    for name, target in new.state_dict().items():
        source = weights[name]
        for axis in range(min(2, source.ndim)):
            reads = axis == 1
            places = _places(name, axis, source.shape[axis], target.shape[axis], parts)
            if reads and name in WIDENED_TIME:
                source = _spread_frequencies(source, target.shape[1])
                continue
            source = source.index_select(axis, places)
            if reads:
                source = source * _shares(source.shape, places, generator)
        target.copy_(source)
    return new


def _places(name: str, axis: int, old: int, new: int, parts: dict[str, list[tuple[int, int]]]) -> torch.Tensor:
    """For each of `new` channels the old one that it copies: neighbours are copies of one, as group norms want it."""
    if _counts_heads(name, axis):
        return (_even(old // HEAD, new // HEAD)[:, None] * HEAD + torch.arange(HEAD)).flatten()
    concatenated = parts.get(name.removesuffix(".weight").removesuffix(".bias"))
    if concatenated and old == sum(a for a, _ in concatenated) and (axis == 1 or "norm1" in name):
        starts = torch.tensor([0, *[a for a, _ in concatenated]]).cumsum(0)
        return torch.cat([_even(a, b) + start for (a, b), start in zip(concatenated, starts, strict=False)])
    return _even(old, new)


def _even(old: int, new: int) -> torch.Tensor:
    return torch.arange(new) * old // new


def _counts_heads(name: str, axis: int) -> bool:
    """Whether the axis is laid out head by head: what queries, keys and values give, and what their output reads."""
    part = name.split(".")
    return ("to_out" in part and axis == 1) or (axis == 0 and any(p in part for p in ("to_q", "to_k", "to_v")))


def _concatenated(old: UNet2DConditionModel, new: UNet2DConditionModel) -> dict[str, list[tuple[int, int]]]:
    """The layers that read a concatenation in the way up, with its parts' old and new widths."""
    found = {}
    for i, (block, wider) in enumerate(zip(old.up_blocks, new.up_blocks, strict=True)):
        before = old.config.block_out_channels[::-1][max(0, i - 1)], new.config.block_out_channels[::-1][max(0, i - 1)]
        for j, (a, b) in enumerate(zip(block.resnets, wider.resnets, strict=True)):
            first = before if j == 0 else (a.out_channels, b.out_channels)
            rest = a.in_channels - first[0], b.in_channels - first[1]
            for layer in ("norm1", "conv1", "conv_shortcut"):
                found[f"up_blocks.{i}.resnets.{j}.{layer}"] = [first, rest]
    return found


def _shares(shape: torch.Size, places: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random parts (out, in, 1, ...) by which the copies of a channel are read; those of one channel sum up to 1."""
    raw = 0.5 + torch.rand(shape[:2], generator=generator)
    total = torch.zeros(shape[0], int(places.max()) + 1).index_add_(1, places, raw)
    shares = raw / total.index_select(1, places)
    return shares.reshape(*shape[:2], *[1] * (len(shape) - 2))


def _spread_frequencies(weight: torch.Tensor, width: int) -> torch.Tensor:
    """The timestep's cosines and sines: a multiple of the old width has the old frequencies among its own."""
    step = width // weight.shape[1]
    wider = weight.new_zeros(weight.shape[0], width)
    wider[:, ::step] = weight
    return wider
