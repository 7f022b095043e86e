"""How the pixels of one frame are found in another: dense optical flow, and how far it can be trusted.

The flow is OpenCV's Dense Inverse Search (Kroeger et al., arXiv 1603.03590), run on reduced frames, forward and back.
Where both ways agree and the colours match, a pixel was followed; elsewhere it was hidden, left the frame, or the flow
is wrong. Measures are those of Sundaram et al. (ECCV 2010) with soft instead of hard limits.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

SIDE = 512
"""Longer side, in pixels, of the reduced frames that flow is computed on; larger ones gain nothing but cost."""

RETURN_PIXELS = 2.0
"""There and back, a pixel that was followed comes home to within about this distance, in pixels of the flow."""

CHANNEL_MEAN = np.full((1, 3), 1 / 3, np.float32)
"""Matrix for `cv2.transform`: the mean of three channels."""
CHANNEL_MEAN.flags.writeable = False

COLOUR_LEVELS = 20.0
"""What was followed differs in colour by about this many levels of 255, mean of the channels."""

SMALLEST = 16
"""Shorter side, in pixels, below which there is no patch to search with: such frames are taken to stand still."""

FOLLOWED = 0.1
"""From this confidence on a pixel counts as followed: an error of 1.5 times one of the two limits."""


def reduced(frame: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The frame (H, W, 3) with its longer side at most `side` pixels, averaged over what falls into each."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return frame
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Match:
    """Where the pixels of `here` are in `there`, both uint8 (h, w, 3): at x + `flow`(x), (h, w, 2) in pixels."""

    here: np.ndarray
    there: np.ndarray
    flow: np.ndarray
    back: np.ndarray
    """The flow the other way, from `there` to `here`."""

    @cached_property
    def confidence(self) -> np.ndarray:
        """How surely each pixel was followed, float32 (h, w) in 0 to 1; 0 where it left the frame."""
        places = _places(self.flow)
        height, width = self.flow.shape[:2]
        home = self.flow + _sampled(self.back, places)
        strayed = np.einsum("hwc,hwc->hw", home, home) / RETURN_PIXELS**2
        colour = cv2.absdiff(_sampled(self.there, places), self.here).astype(np.float32)
        colour = cv2.blur(cv2.transform(colour, CHANNEL_MEAN), (3, 3)) / COLOUR_LEVELS
        x, y = places[..., 0], places[..., 1]
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        return np.exp(-strayed - colour**2) * inside

    def warped(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, ...) laid over `there`, of any size and its proportions, moved to lie over `here`."""
        height, width = picture.shape[:2]
        h, w = self.flow.shape[:2]
        if (h, w) == (height, width):
            return _sampled(picture, _places(self.flow))
        flow = cv2.resize(self.flow, (width, height))
        flow *= np.float32((width / w, height / h))
        return _sampled(picture, _places(flow, out=flow))


def match(here: np.ndarray, there: np.ndarray, *, quick: bool = False) -> Match:
    """Follow every pixel of the reduced frame `here` to `there`; `quick` is five times faster and less exact."""
    if here.shape != there.shape:
        raise ValueError(f"frames must have one size, not {here.shape} and {there.shape}")
    if min(here.shape[:2]) < SMALLEST:
        still = np.zeros((*here.shape[:2], 2), np.float32)
        return Match(here, there, still, still)
    grey, other = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (here, there))
    preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if quick else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
    # the way back only tells where the way there is wrong, for which the fast preset serves as well
    back = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(other, grey, None)
    return Match(here, there, cv2.DISOpticalFlow_create(preset).calc(grey, other, None), back)


def _places(flow: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Where each pixel goes, float32 (h, w, 2) as x, y."""
    return np.add(flow, _grid(*flow.shape[:2]), out=out)


@lru_cache(maxsize=2)
def _grid(height: int, width: int) -> np.ndarray:
    """Where each pixel is, as `_places`; kept for the last two sizes, and not to be written to."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    grid = np.dstack(np.meshgrid(x, y))
    grid.flags.writeable = False
    return grid


def _sampled(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`picture` at `places`, bilinear, its border continued."""
    return cv2.remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
