"""Where in the picture an edit acts: maps gathered over the steps, and masks of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from editor.method.plan import ControlPlan

MAP_SIDE = 16
"""Maps of about this many cells per side localise words best (arXiv 2208.01626 uses 16 of a 64-cell picture)."""

FLAT = 0.75
"""A mask that covers more than this part of the picture localises nothing: most of the picture would change anyway."""


class WordMaps:
    """Running means of text attention maps, one per name, over the layers of one level and the steps so far.

    Belongs to a sampling run, which hands it to the layers with each step. `size` is the latents' (h, w). `tokens`:
    those that will be asked for, by name; others are not kept. Without it all are.
    """

    def __init__(self, level: int, size: tuple[int, int], tokens: Mapping[str, Sequence[int]] | None = None) -> None:
        self.level = level
        self.size = size
        self._tokens = None if tokens is None else {name: sorted(set(places)) for name, places in tokens.items()}
        self._sums: dict[str, dict[int, torch.Tensor]] = {}
        self._counts: dict[tuple[str, int], int] = {}

    def wants(self, name: str) -> bool:
        """Whether anything is kept of the maps called `name`."""
        return self._tokens is None or bool(self._tokens.get(name))

    def add(self, name: str, attention: torch.Tensor, at: int = 0) -> None:
        """Take in one layer's map (F*n, T), n the cells of this level, of the F frames from frame `at` of the clip."""
        if not self.wants(name):
            return
        if self._tokens is not None:
            attention = attention[:, self._tokens[name]]
        sums = self._sums.setdefault(name, {})
        sums[at] = sums[at] + attention if at in sums else attention
        self._counts[name, at] = self._counts.get((name, at), 0) + 1

    def words(self, name: str, tokens: Sequence[int], *, widen: bool = True) -> torch.Tensor | None:
        """Mean map of `tokens` in the latents' size, (F, h, w), each frame's highest value 1; None if nothing is known.

        With `widen` the sum over the tokens is widened by a 3x3 maximum before it is scaled up.
        """
        grid = self.mean(name, tokens)
        if grid is None:
            return None
        return _normalised(_widened(grid) if widen else grid, self.size)

    def mean(self, name: str, tokens: Sequence[int]) -> torch.Tensor | None:
        """The attention that `tokens` get together, in the cells of this level, (F, h', w'); None if not known."""
        if not tokens or name not in self._sums:
            return None
        height, width = (math.ceil(side / 2**self.level) for side in self.size)
        places = list(tokens) if self._tokens is None else [self._tokens[name].index(token) for token in tokens]
        parts = sorted(self._sums[name].items())
        mean = torch.cat([summed[:, places].sum(-1) / self._counts[name, at] for at, summed in parts])
        return mean.view(-1, height, width)


@dataclass(frozen=True)
class LookedFor:
    """Where the words of two prompts were looked for: each with its mean map, (F, h', w') in the cells of one level.

    The mean is over the steps that run its prompt; none for the words of a prompt that never ran.
    """

    source: tuple[tuple[str, torch.Tensor], ...] = ()
    target: tuple[tuple[str, torch.Tensor], ...] = ()


def maps_of_words(unet: UNet2DConditionModel, plans: Sequence[ControlPlan], size: tuple[int, int]) -> WordMaps | None:
    """What gathers the maps of every word of the `plans`' prompts; None for a UNet without text attention."""
    level = map_level(unet, size)
    words = {"source": plans[0].source_words, **{f"target {j}": plan.target_words for j, plan in enumerate(plans)}}
    tokens = {name: [token for _, places in found for token in places] for name, found in words.items()}
    return None if level is None else WordMaps(level, size, tokens)


def looked_for(maps: WordMaps | None, plans: Sequence[ControlPlan]) -> tuple[LookedFor, ...]:
    """What `maps_of_words` gathered, for each plan."""

    def known(name: str, words: Sequence[tuple[str, range]]) -> tuple[tuple[str, torch.Tensor], ...]:
        found = ((word, maps and maps.mean(name, places)) for word, places in words)
        return tuple((word, mean) for word, mean in found if mean is not None)

    source = known("source", plans[0].source_words)
    return tuple(LookedFor(source, known(f"target {j}", plan.target_words)) for j, plan in enumerate(plans))


BASE = 0.25
"""The quantile of a clip's differences that counts as nothing. Not the median: a region of more than half of the
picture would lose its own weaker half."""

CLAMP = 3.0
"""Values above so many times the mean count as that much (DiffEdit's code)."""

SPREAD = 2 / 3
"""What differs by this part of the region's mean or more acts as the region does."""


class Differences:
    """Where two prompts differ in their prediction on the same latents (DiffEdit, arXiv 2210.11427, step 1).

    Differs from it: the latents are the run's own and the steps so far are averaged, so it costs nothing beyond what
    guidance computes.
    """

    def __init__(self) -> None:
        self._sum: torch.Tensor | None = None

    def add(self, difference: torch.Tensor) -> None:
        """Take in one step's difference of noise (M, F, C, h, w)."""
        size = difference.abs().mean(2)
        self._sum = size if self._sum is None else self._sum + size

    def region(self, index: int, threshold: float, limit: float) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Where target `index` acts, boolean (F, h, w), and whether that is a region at all, boolean (); None before
        the first step.

        What a model's contrast is does not matter: strengths are smoothed over 3 of 24 cells, taken from the clip's own
        base, clamped, and compared with `threshold` times the clamp. It is no region when more than `limit` of the
        picture acts as it does. Nothing here waits for the device.
        """
        if self._sum is None:
            return None
        strength = self._sum[index]
        kernel = (round(math.sqrt(strength[0].numel()) / 8) - 1) // 2 * 2 + 1
        padding = kernel // 2
        smooth = F.avg_pool2d(strength[:, None], kernel, 1, padding, count_include_pad=False)[:, 0]
        raised = (smooth - smooth.flatten().quantile(BASE)).clamp_min(0)
        mask = raised > threshold * CLAMP * raised.mean()
        inside = (smooth * mask).sum() / mask.sum().clamp_min(1)
        acting = (smooth >= SPREAD * inside).float().mean()
        return mask, mask.any() & (torch.maximum(acting, mask.float().mean()) <= limit)


def _widened(maps: torch.Tensor) -> torch.Tensor:
    """Each cell of (F, h, w) gets the highest value of its 3x3 neighbourhood."""
    return F.max_pool2d(maps[:, None], 3, stride=1, padding=1)[:, 0]


def _normalised(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps (F, h, w) scaled to `size`, each frame's highest value 1."""
    large = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return large / large.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(large.dtype).tiny)


def map_level(unet: UNet2DConditionModel, size: tuple[int, int]) -> int | None:
    """The level, among the blocks with text attention, whose maps come nearest to `MAP_SIDE`; None if none has any."""
    kinds = unet.config.down_block_types
    levels = [level for level, kind in enumerate(kinds) if "CrossAttn" in kind]
    return min(levels, key=lambda level: abs(math.log2(max(size) / 2**level / MAP_SIDE)), default=None)


def kept_levels(unet: UNet2DConditionModel, size: tuple[int, int]) -> tuple[int, ...]:
    """The level of `map_level` and the next finer one with text attention, which shows an outline better."""
    level = map_level(unet, size)
    finer = [n for n in range(level or 0) if "CrossAttn" in unet.config.down_block_types[n]]
    return () if level is None else (level, *finer[-1:])


def kept_mask(maps: Sequence[torch.Tensor | None], threshold: float, limit: float) -> torch.Tensor | None:
    """Where what is kept is, boolean (F, h, w): the mean of its `maps` (F, h, w), scaled anew, is above `threshold`.

    Nowhere if that covers more than `limit` of the picture, which is no single region; None without a map. A lower
    threshold keeps more of it, and a rim of the old place. Waits for no device.
    """
    if not maps or any(found is None for found in maps):
        return None
    mean = torch.stack(list(maps)).mean(0)
    mask = _normalised(mean, mean.shape[-2:]) > threshold
    return mask & (mask.float().mean() <= limit)


def change_mask(
    maps: Sequence[torch.Tensor | None], threshold: float, limit: float = FLAT
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Where the edit may happen, boolean (F, h, w), and whether that is a region, boolean (); None without a map.

    One of the `maps` is above `threshold` there; it is no region when it covers more than `limit` of the picture.
    """
    known = [found for found in maps if found is not None]
    if not known:
        return None
    mask = torch.stack(known).amax(0) > threshold
    return mask, mask.float().mean() <= limit
