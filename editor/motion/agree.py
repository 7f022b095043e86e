"""Keyframes that agree: what an edit changed at one is averaged with what it changed at its neighbours.

Each difference edit minus clip becomes the weighted mean of itself and its neighbours' differences, moved along the
clip's motion. Flicker of the edit averages out, motion of the clip stays. No model is involved.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from editor.motion.flow import match, reduced


class Change(NamedTuple):
    """At one keyframe: its `shot`, the clip's `frame`, uint8 (H, W, 3), and edit minus clip, float32 (H, W, 3).

    The frame may be reduced: it only says where things are.
    """

    shot: int
    frame: np.ndarray
    difference: np.ndarray


def agreed(changes: Iterable[Change], radius: int) -> Iterator[Change]:
    """All keyframes, the difference of each averaged with those up to `radius` keyframes away in the same shot.

    A neighbour weighs as much as it can be followed, at most as much as the keyframe itself. Radius 0 changes nothing.
    Held at a time are 2 * radius + 1 keyframes. Frames come back reduced.
    """
    if radius < 0:
        raise ValueError(f"radius is {radius}, it must be 0 or more")
    incoming, held, centre = iter(changes), [], 0
    while True:
        while len(held) <= centre + radius and (change := next(incoming, None)) is not None:
            held.append(change._replace(frame=reduced(change.frame)))
        if centre >= len(held):
            return
        yield held[centre]._replace(difference=_mean(held, centre))
        centre += 1
        if centre > radius:
            held.pop(0)
            centre -= 1


def _mean(held: Sequence[Change], centre: int) -> np.ndarray:
    """The difference at `centre`, averaged with all others of its shot in `held`."""
    shot, here, own = held[centre]
    total, weight = own.copy(), np.ones((*own.shape[:2], 1), np.float32)
    for i, change in enumerate(held):
        if i == centre or change.shot != shot:
            continue
        found = match(here, change.frame)
        share = cv2.resize(found.confidence, own.shape[1::-1])[..., None]
        total += share * found.warped(change.difference)
        weight += share
    return total / weight
