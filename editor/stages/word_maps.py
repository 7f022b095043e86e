"""Where the model looked for each word: one small picture beside the result, a row per word, a column per keyframe."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from editor.method.maps import MAP_SIDE
from editor.stages.footage import Footage
from editor.stages.targets import Edited

MOST_KEYFRAMES = 64
"""Of a longer clip as many, spread over it: the picture stays below some 200 kB."""


def write_word_maps(footage: Footage, edited: Edited, index: int, path: Path) -> dict[str, Any] | None:
    """Write the maps of target `index` to `path`, lossless; what the manifest says of them. None if there are none.

    `source`, `target`: the words, of which each has a row, in this order. `keyframes`: the frames of the result that
    the columns belong to. `size` (width, height): the cells of one map, which covers the frame. A level of 255 is the
    highest that the word has anywhere in the clip.
    """
    found = edited.sampled.word_maps[index] if edited.sampled.word_maps else None
    if found is None or not (found.source or found.target):
        return None
    every = footage.clip.keyframes.indices
    places = np.linspace(0, len(every) - 1, min(len(every), MOST_KEYFRAMES)).round().astype(int).tolist()
    rows = [_levels(maps[places], footage) for _, maps in (*found.source, *found.target)]
    height, width = rows[0].shape[1:]
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    Image.fromarray(picture).save(path, "webp", lossless=True)
    return {
        "source": [word for word, _ in found.source],
        "target": [word for word, _ in found.target],
        "keyframes": [int(every[place]) for place in places],
        "size": [width, height],
    }


def _levels(maps: torch.Tensor, footage: Footage) -> np.ndarray:
    """Maps (F, h', w') of the model's padded picture as levels (F, h, w), uint8, of what is seen of it."""
    across, down = (side // footage.cell for side in footage.fit.padded)
    width, height = (math.ceil(side / footage.cell) for side in footage.fit.scaled)
    large = F.interpolate(maps[:, None].float().cpu(), size=(down, across), mode="bilinear", align_corners=False)
    shrunk = min(1.0, MAP_SIDE / max(width, height))
    size = (max(1, round(height * shrunk)), max(1, round(width * shrunk)))
    seen = F.interpolate(large[..., :height, :width], size=size, mode="area")[:, 0]
    return (255 * seen / seen.max().clamp_min(torch.finfo(seen.dtype).tiny)).round().byte().numpy()
