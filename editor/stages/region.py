"""Where a person allowed the edit: a mask painted on one frame, carried along the clip's motion to every keyframe."""

from bisect import bisect_right
from itertools import islice

import cv2
import numpy as np

from editor.diffusion.latents import Fit
from editor.events import EditError
from editor.media import Clip
from editor.media.region import region_mask
from editor.motion.flow import match, reduced
from editor.request import EditRequest

PROPORTIONS = 0.05
"""By which the proportions of a mask may differ from the clip's: masks are small and their sides whole pixels."""
SIDE = 256
"""Longer side, in pixels, of the frames that a mask is followed on: it is no finer itself."""
COVERED = 0.25
"""A cell of the model is painted from this share of it on."""


def painted(clip: Clip, request: EditRequest) -> np.ndarray | None:
    """Where the edit may act on each keyframe, bool (K, h, w) at a reduced size; None: nothing was painted.

    The mask belongs to the frame at `region_at`. From there it is followed from keyframe to keyframe, both ways, as
    long as the shot lasts; in other shots nothing is painted. Raises `EditError`.
    """
    if not request.region:
        return None
    mask = region_mask(request.region)
    index = round((request.region_at - clip.start) * clip.fps)
    if not 0 <= index < clip.count:
        raise EditError(
            f"The region was painted at {request.region_at:g} s, but the edited interval goes from {clip.start:g} s to "
            f"{clip.end:g} s. Paint it on a frame inside, or set --region-at."
        )
    frame = reduced(next(islice(clip.every_frame(), index, None)), SIDE)
    return _followed(clip, index, frame, _laid_over(mask, frame))


def _laid_over(mask: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The mask at the size of the frame, bool. Raises `EditError` where it has other proportions."""
    (h, w), (height, width) = mask.shape, frame.shape[:2]
    if abs(np.log((w / h) / (width / height))) > PROPORTIONS + 1 / min(h, w):
        raise EditError(
            f"The region has the proportions {w} : {h}, the clip {width} : {height}. Paint it on a frame of this clip."
        )
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5


def _followed(clip: Clip, index: int, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    keyframes, shots = clip.keyframes.indices, clip.keyframes.shots
    small = [reduced(key, SIDE) for key in clip.key_frames()]
    masks = np.zeros((len(keyframes), *mask.shape), bool)
    before = bisect_right(keyframes, index) - 1
    for way in (range(before, -1, -1), range(before + 1, len(keyframes))):
        there, known = frame, mask
        for k in way:
            if shots[k] != shots[before]:
                break
            here = small[k]
            known = match(here, there).warped(known.astype(np.float32)) >= 0.5
            masks[k], there = known, here
    return masks


def in_cells(masks: np.ndarray, fit: Fit, cells: tuple[int, int]) -> np.ndarray:
    """Masks bool (K, h, w) of the whole picture as bool (K, *cells) of the model's padded one."""
    right, below = (p - s for p, s in zip(fit.padded, fit.scaled, strict=True))
    found = []
    for mask in masks:
        scaled = cv2.resize(mask.astype(np.float32), fit.scaled, interpolation=cv2.INTER_LINEAR)
        whole = np.pad(scaled, ((0, below), (0, right)), mode="symmetric")
        found.append(cv2.resize(whole, cells[::-1], interpolation=cv2.INTER_AREA) >= COVERED)
    return np.stack(found)
