"""Where a clip is cut: a frame that shows nothing of the one before begins a new shot."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from editor.motion.flow import FOLLOWED, match

CUT = 0.4
"""A new shot begins where more than this share of a frame cannot be followed from the frame before.

Measured on frames of 128 pixels: 0.55 to 1.0 across cuts, up to 0.3 in fast motion at 8 frames per second."""

FLASH = 2
"""Up to this many frames that interrupt a shot are a flash, not a shot of their own."""


def with_cuts(frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Each of the small `frames`, uint8 (h, w, 3), and whether a new shot begins with it; the first one begins one.

    Looks `FLASH` frames ahead: where the shot goes on after a flash, the flash is a part of it.
    """
    incoming, ahead = iter(frames), deque()
    last: np.ndarray | None = None
    while True:
        ahead.extend(islice(incoming, FLASH + 1 - len(ahead)))
        if not ahead:
            return
        frame = ahead.popleft()
        if last is not None and not goes_on(last, frame) and any(goes_on(last, later) for later in ahead):
            yield frame, False
            continue
        starts = last is None or not goes_on(last, frame)
        last = frame
        yield frame, starts


def goes_on(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether `after` shows enough of `before` to be of the same shot."""
    return float((match(after, before, quick=True).confidence < FOLLOWED).mean()) <= CUT
