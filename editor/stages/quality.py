"""How a result stands beside its clip, without a right answer: what stayed, flicker, sharpness.

The frames pass one by one and none is kept but two small ones.
"""

from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from editor.motion import Carried

SIDE = 256
"""Longer side, in pixels, of the frames that flicker is measured on."""
STILL = 0.05
"""Levels of 255; a clip whose frames change less has no flicker that another could be compared with."""


class Gauge:
    """Hears of every frame of a result. `regions`: where the edit may act, bool (H, W) per keyframe; None: anywhere."""

    def __init__(self, regions: Iterable[np.ndarray] | None) -> None:
        self._regions = None if regions is None else iter(regions)
        self._error, self._kept = 0.0, 0
        self._gradients = np.zeros(2)
        self._flicker, self._triples = np.zeros(2), 0
        self._last: deque[np.ndarray] = deque(maxlen=3)

    def add(self, carried: Carried) -> None:
        """Take the next frame."""
        pair = carried.frame, carried.source
        self._last.append(np.stack([_small(frame) for frame in pair]))
        if len(self._last) == 3:
            before, here, after = self._last
            self._flicker += ((before - 2 * here + after) ** 2).mean(axis=(1, 2, 3))
            self._triples += 1
        if carried.keyframe:
            self._gradients += [_gradient_energy(frame) for frame in pair]
            if self._regions is not None:
                outside = ~next(self._regions)
                error = (carried.frame[outside].astype(np.float32) - carried.source[outside]) ** 2
                self._error, self._kept = self._error + float(error.sum()), self._kept + error.size

    def numbers(self) -> dict[str, float | None]:
        """`kept_psnr`: dB between clip and result on the keyframes, outside the region of the edit.

        `flicker`: how much neighbouring frames jump (root mean square of the second difference in time) relative to the
        clip. `sharpness`: gradient energy of the keyframes relative to the clip's (Subbarao et al. 1993). Each is None
        where there is nothing to compare.
        """
        still = self._triples == 0 or self._flicker[1] / max(1, self._triples) < STILL**2
        flat = self._gradients[1] <= 0
        return {
            "kept_psnr": _psnr(self._error, self._kept),
            "flicker": None if still else round(float(np.sqrt(self._flicker[0] / self._flicker[1])), 4),
            "sharpness": None if flat else round(float(self._gradients[0] / self._gradients[1]), 4),
        }


def at_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask bool (h, w) at `size` (width, height) in pixels."""
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _psnr(error: float, count: int) -> float | None:
    """Peak signal-to-noise ratio in dB of a sum of squared errors, at most 99."""
    if not count:
        return None
    return 99.0 if error == 0 else round(float(min(99.0, 10 * np.log10(255.0**2 * count / error))), 2)


def _small(frame: np.ndarray) -> np.ndarray:
    """float32 (h, w, 3), its longer side at most `SIDE`."""
    height, width = frame.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _gradient_energy(frame: np.ndarray) -> float:
    """Sum of squared differences to the pixels at the right and below, of all colours."""
    levels = frame.astype(np.float32)
    return sum(float((np.diff(levels, axis=axis) ** 2).sum()) for axis in (0, 1))
