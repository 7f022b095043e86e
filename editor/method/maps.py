"""Where in the picture the changed words are: text attention maps gathered over layers and steps, and masks of them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

MAP_SIDE = 16
"""Maps of about this many cells per side localise words best (arXiv 2208.01626 uses 16 of a 64-cell picture)."""

FLAT = 0.75
"""A mask that covers more than this part of the picture localises nothing: most of the picture would change anyway."""


class WordMaps:
    """Running means of text attention maps, one per name, over the layers of one level and the steps so far.

    Belongs to a sampling run, which hands it to the layers with each step. `size` is the latents' (h, w).
    """

    def __init__(self, level: int, size: tuple[int, int]) -> None:
        self.level = level
        self.size = size
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, attention: torch.Tensor) -> None:
        """Take in one layer's map (F*n, T), n the cells of this level."""
        self._sums[name] = self._sums[name] + attention if name in self._sums else attention
        self._counts[name] = self._counts.get(name, 0) + 1

    def words(self, name: str, tokens: Sequence[int]) -> torch.Tensor | None:
        """Mean map of `tokens` in the latents' size, (F, h, w), each frame's highest value 1; None if nothing is known.

        The sum over the tokens is widened by a 3x3 maximum before it is scaled up.
        """
        if not tokens or name not in self._sums:
            return None
        height, width = (math.ceil(side / 2**self.level) for side in self.size)
        mean = self._sums[name][:, list(tokens)].sum(-1) / self._counts[name]
        widened = F.max_pool2d(mean.view(-1, 1, height, width), 3, stride=1, padding=1)
        large = F.interpolate(widened, size=self.size, mode="bilinear", align_corners=False)[:, 0]
        return large / large.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(large.dtype).tiny)


def map_level(unet: UNet2DConditionModel, size: tuple[int, int]) -> int | None:
    """The level, among the blocks with text attention, whose maps come nearest to `MAP_SIDE`; None if none has any."""
    kinds = unet.config.down_block_types
    levels = [level for level, kind in enumerate(kinds) if "CrossAttn" in kind]
    return min(levels, key=lambda level: abs(math.log2(max(size) / 2**level / MAP_SIDE)), default=None)


def change_mask(source: torch.Tensor | None, target: torch.Tensor | None, threshold: float) -> torch.Tensor | None:
    """Where the edit may happen, boolean (F, h, w): a changed word's map of either prompt is above `threshold`.

    None when the words are not localised: no map, or the mask covers more than `FLAT` of the picture.
    """
    known = [words for words in (source, target) if words is not None]
    if not known:
        return None
    mask = torch.stack(known).amax(0) > threshold
    return None if mask.float().mean() > FLAT else mask
