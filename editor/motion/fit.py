"""How the colours of a clip explain what an edit changes: a linear function of them around every pixel.

It is the fit of the guided filter (He et al. 2010, ECCV). What it explains follows the clip's own edges, and neither
flickers nor leaks beyond them; another thing, which it cannot explain, is left as it is.
"""

from typing import NamedTuple

import cv2
import numpy as np

from editor.motion.flow import MEAN, reduced

NOISE = 3.0
"""Variance in squared levels of 255 by which a fit of colours is damped."""

CERTAINTY = 8
"""Power of the share of the variance that a fit explains, by which it is believed: 0.95 is worth two thirds, 0.75 a
tenth."""

SIDE = 128
"""Longer side, in pixels, of the reduced frames that fits are made on (He and Sun 2015, arXiv 1505.00996)."""

REACH = 1 / 24
"""Radius of the square in which colours are fitted, of the longer side."""

FAINT, PLAIN = 1.0, 4.0
"""Levels of 255: a change below the first is left alone, from the second on it is fitted."""


class ColorFit(NamedTuple):
    """A fit around every pixel: `matrices` (h, w, C, 3) and `offset` (h, w, C), means over the fits that reach it.

    `explained` and `variance`, (h, w): how much of the values' variance the fit explains, and the whole of it.
    """

    matrices: np.ndarray
    offset: np.ndarray
    explained: np.ndarray
    variance: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """What share of the variance is explained, (h, w) in 0 to 1; all of it where there is none."""
        return ((self.explained + NOISE) / (self.variance + NOISE)).clip(0, 1)


def fitted(change: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """A `change` of a frame, both (H, W, 3), by what the frame's colours explain of it, as far as they do; float32.

    The fit is made on reduced frames and applied to the frame as it is, so its edges are as sharp as the frame's.
    """
    coarse, size = reduced(change, SIDE), frame.shape[1::-1]
    fit = color_fit(coarse, reduced(frame, SIDE), max(1, round(REACH * max(coarse.shape))))
    levels = cv2.blur(cv2.transform(np.abs(coarse), MEAN), (3, 3))
    sure = fit.share**CERTAINTY * ((levels - FAINT) / (PLAIN - FAINT)).clip(0, 1)
    rest, colors = cv2.resize(1 - sure, size), [plane.astype(np.float32) for plane in cv2.split(frame)]
    planes = []
    for channel, own in enumerate(cv2.split(change)):
        plane = cv2.resize(sure * fit.offset[..., channel], size)
        cv2.accumulateProduct(rest, own, plane)
        for i, color in enumerate(colors):
            cv2.accumulateProduct(color, cv2.resize(sure * fit.matrices[..., channel, i], size), plane)
        planes.append(plane)
    return cv2.merge(planes)


def color_fit(values: np.ndarray, colors: np.ndarray, radius: int) -> ColorFit:
    """Fit `values` (h, w, C) by `colors` (h, w, 3), both in levels of 255, in squares of that radius; float32."""
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
    fit = both @ _inverse(own + NOISE * np.eye(3))
    explained = (2 * fit * both - fit * (fit @ own)).sum((-2, -1))
    offset = around(mean - (fit * middle[..., None, :]).sum(-1))
    found = around(fit), offset, explained, variance
    return ColorFit(*(x.astype(np.float32) for x in found))


def _sums(array: np.ndarray, radius: int) -> np.ndarray:
    """Sums of float32 (h, w, ...) over the square of that radius around every pixel, as far as it is in the picture."""
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
