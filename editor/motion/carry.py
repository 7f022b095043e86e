"""An edit carried from keyframes to the frames between them, along the clip's own motion.

What is carried is the difference edit minus clip, so that every frame keeps its own detail, grain and motion.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from editor.motion.flow import FOLLOWED, match, reduced
from editor.motion.keyframes import Keyframes

FLOOR = 0.01
"""Confidence that every place has at least, so that where nothing can be followed the nearer keyframe decides."""


@dataclass(frozen=True)
class Carried:
    """One frame of the result and the clip's own, uint8 (H, W, 3).

    `unfollowed`: the share of its pixels that could be followed to neither keyframe.
    """

    source: np.ndarray
    frame: np.ndarray
    unfollowed: float
    keyframe: bool


def carried(frames: Iterable[np.ndarray], keyframes: Keyframes, differences: Iterable[np.ndarray]) -> Iterator[Carried]:
    """All `frames` of a clip, uint8 (H, W, 3), edited, in order.

    `differences`: edit minus clip at each keyframe, float32 (H, W, 3), in levels of 255. Held at a time are the frames
    between two keyframes and their two differences. Raises `ValueError` where frames or differences run out.
    """
    incoming, changes = iter(frames), iter(differences)
    before: tuple[int, int, np.ndarray, np.ndarray] | None = None
    for index, shot in zip(keyframes.indices, keyframes.shots, strict=True):
        reached = -1 if before is None else before[0]
        span = list(islice(incoming, index - reached))
        change = next(changes, None)
        if len(span) < index - reached or change is None:
            raise ValueError(f"frames or differences end before keyframe {index}")
        after = (index, shot, span.pop(), change)
        if span:
            if before is None or before[1] != shot:
                raise ValueError(f"the frames before keyframe {index} have no keyframe of their shot before them")
            yield from _between(span, before, after)
        yield Carried(after[2], added(after[2], change), 0.0, True)
        before = after


def _between(span: list[np.ndarray], before: tuple, after: tuple) -> Iterator[Carried]:
    """The frames of `span`, which lie between two keyframes (index, shot, frame, difference)."""
    small = [reduced(key[2]) for key in (before, after)]
    for offset, frame in enumerate(span, start=1):
        here = reduced(frame)
        matches = [match(here, there) for there in small]
        distances = offset, after[0] - before[0] - offset
        sure = [m.confidence for m in matches]
        weights = [(c + FLOOR) / d for c, d in zip(sure, distances, strict=True)]
        share = cv2.resize(weights[0] / (weights[0] + weights[1]), frame.shape[1::-1])
        moved = [m.warped(key[3]) for m, key in zip(matches, (before, after), strict=True)]
        change = cv2.blendLinear(*moved, share, 1 - share)
        lost = float((np.maximum(*sure) < FOLLOWED).mean())
        yield Carried(frame, added(frame, change), lost, False)


def added(frame: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The frame, uint8 (H, W, 3), and a float32 change of it, rounded into 0 to 255."""
    return cv2.add(frame, change, dtype=cv2.CV_8U)


def difference(edited: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Edited frame minus frame, both uint8 (H, W, 3), as float32."""
    return cv2.subtract(edited, frame, dtype=cv2.CV_32F)
