"""How the colours of a clip explain what an edit changes: a linear function of them around every pixel.

It is the fit of the guided filter (He et al. 2010, ECCV). What it explains keeps to the clip's own edges; the less it
explains, the more of a change stays as it is.
"""

from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from editor.motion.flow import CHANNEL_MEAN

Array = TypeVar("Array")

NOISE = 3.0
"""Variance in squared levels of 255 by which a fit of colours is damped."""

CERTAINTY = 8
"""Power of the share of the variance that a fit explains, by which it is believed: 0.95 is worth two thirds, 0.75 a
tenth."""

FIT_SIDE = 128
"""Longer side, in pixels, of what changes are fitted on: single pixels of a larger frame (He and Sun 2015, arXiv
1505.00996), not means, which would hide its grain from the fit, so that the fit would amplify it."""

FIT_REACH = 1 / 24
"""Radius of the square in which a change is fitted, as a share of the longer side; two pixels at least, since four
numbers are fitted."""

FITTED_FROM, FITTED_WHOLLY = 1.0, 4.0
"""Levels of 255: a change up to the first is left alone, from the second on it is fitted as far as it is explained."""


class ColorFit(NamedTuple):
    """A fit around every pixel: `matrices` (h, w, C, 3) and `offset` (h, w, C), means over the fits that reach it.

    `explained` and `variance`, (h, w): how much of the values' variance the fit explains, and the whole of it.
    """

    matrices: np.ndarray
    offset: np.ndarray
    explained: np.ndarray
    variance: np.ndarray


def explained_share(explained: Array, variance: Array) -> Array:
    """What share of the variance a fit explains, in 0 to 1; all of it where there is none. Arrays of any kind."""
    return ((explained + NOISE) / (variance + NOISE)).clip(0, 1)


def fitted(change: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The change of a frame, replaced by what the frame's colours explain of it, as far as they explain it.

    `change` is float32 (H, W, 3), in levels of 255, as is the result; `frame` is uint8 (H, W, 3). The fit is made on
    fewer pixels and applied to all of them, so its edges are as sharp as the frame's.
    """
    coarse, size = _sampled(change), frame.shape[1::-1]
    fit = color_fit(coarse, _sampled(frame), max(2, round(FIT_REACH * max(coarse.shape[:2]))))
    levels = cv2.blur(cv2.transform(np.abs(coarse), CHANNEL_MEAN), (3, 3))
    sure = explained_share(fit.explained, fit.variance) ** CERTAINTY
    sure = sure * ((levels - FITTED_FROM) / (FITTED_WHOLLY - FITTED_FROM)).clip(0, 1)
    rest, colors = cv2.resize(1 - sure, size), [plane.astype(np.float32) for plane in cv2.split(frame)]
    result = np.empty_like(change)
    for channel in range(3):
        plane = cv2.resize(sure * fit.offset[..., channel], size)
        plane = cv2.accumulateProduct(rest, cv2.extractChannel(change, channel), plane)
        for i, color in enumerate(colors):
            plane = cv2.accumulateProduct(color, cv2.resize(sure * fit.matrices[..., channel, i], size), plane)
        result[..., channel] = plane
    return result


def _sampled(picture: np.ndarray) -> np.ndarray:
    """Pixels of (H, W, 3) at even distances, its longer side at most `FIT_SIDE` of them."""
    height, width = picture.shape[:2]
    scale = min(1.0, FIT_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST_EXACT)


def color_fit(values: np.ndarray, colors: np.ndarray, radius: int) -> ColorFit:
    """Fit `values` (h, w, C) by `colors` (h, w, 3), both in levels of 255, in squares of that radius in pixels."""
    height, width = values.shape[:2]
    values, colors = (x.astype(np.float32, order="C") for x in (values, colors))
    weights = _sums(np.ones((height, width), np.float32), radius)[..., None]

    def around(array: np.ndarray) -> np.ndarray:
        flat = _sums(array.reshape(height, width, -1), radius).reshape(height, width, -1) / weights
        return flat.reshape(array.shape)

    mean, middle = around(values), around(colors)
    both = around(values[..., None] * colors[..., None, :]) - mean[..., None] * middle[..., None, :]
    own = around(colors[..., None] * colors[..., None, :]) - middle[..., None] * middle[..., None, :]
    variance = (around(values**2) - mean**2).sum(-1)
    fit = both @ _inverse(own + NOISE * np.eye(3, dtype=np.float32))
    explained = (2 * fit * both - fit * (fit @ own)).sum((-2, -1))
    offset = around(mean - (fit * middle[..., None, :]).sum(-1))
    return ColorFit(around(fit), offset, explained, variance)


def _sums(array: np.ndarray, radius: int) -> np.ndarray:
    """Sums of float32 (h, w) or (h, w, n) over the square of that radius around a pixel, as far as there are any."""
    side = 2 * radius + 1
    return cv2.boxFilter(array, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """The inverses of symmetric (..., 3, 3), by cofactors; in float64, since colours are often nearly grey."""
    places = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    a, b, c, d, e, f = (matrices[..., i, j].astype(np.float64) for i, j in places)
    cofactors = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    determinant = a * cofactors[0] + b * cofactors[1] + c * cofactors[2]
    inverse = np.stack([cofactors[i] for i in (0, 1, 2, 1, 3, 4, 2, 4, 5)], -1) / determinant[..., None]
    return inverse.reshape(matrices.shape).astype(np.float32)
