"""The clip's own detail, given back where an edit left the picture alone.

An autoencoder loses detail everywhere, also where nothing was edited. What it loses is known: the clip less its own
round trip. That loss is added to the edited frames where they hardly differ from the round trip. Ours; the
literature's nearest relative is the paste of the original outside a mask (Blended Latent Diffusion, arXiv 2206.02779,
section 3.3), which needs a mask.
"""

import numpy as np
import torch
import torch.nn.functional as F

ALONE = 4.0
"""Up to this many levels of 255 between edit and round trip a place counts as left alone; set by hand."""

CHANGED = 16.0
"""From this many levels on it counts as changed and gets nothing; between the two the share falls evenly."""


def left_alone(edited: np.ndarray, rebuilt: np.ndarray, cell: int) -> np.ndarray:
    """How far each place was left alone: float32 (F, h, w), 1 is wholly, 0 is changed.

    `edited` and `rebuilt`, the clip's round trip, are uint8 (F, h, w, 3). Differences are averaged over the
    neighbourhood of one latent `cell`, given in pixels, so that single pixels that agree by chance do not count.
    """
    difference = np.abs(edited.astype(np.int16) - rebuilt).mean(-1, dtype=np.float32)
    radius = cell // 2
    mean = F.avg_pool2d(torch.from_numpy(difference)[:, None], 2 * radius + 1, 1, radius, count_include_pad=False)
    return ((CHANGED - mean[:, 0]) / (CHANGED - ALONE)).clamp(0.0, 1.0).numpy()


def with_detail(edited: np.ndarray, rebuilt: np.ndarray, clip: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The edited frames and the `share` (F, H, W) of what the round trip lost of the `clip`; all uint8 (F, H, W, 3)."""
    finished = np.empty_like(edited)
    for out, edit, trip, own, part in zip(finished, edited, rebuilt, clip, share, strict=True):
        loss = own.astype(np.float32) - trip
        out[:] = (edit + part[..., None] * loss).round().clip(0, 255)
    return finished
