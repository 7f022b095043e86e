"""An edit carried from keyframes to the frames between them, along the clip's own motion; and keyframes that agree.

What is carried is the difference edit minus clip, so that every frame keeps its own detail, grain and motion. At a
keyframe it is averaged before with what its neighbours changed: flicker of the edit averages out, motion of the clip
stays. Then a change is fitted to the colours of the frame that it reached. No model is involved.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from editor.motion.fit import fitted
from editor.motion.flow import FOLLOWED, match, reduced
from editor.motion.keyframes import Keyframes

FLOOR = 0.01
"""Confidence that every place has at least, so that where nothing can be followed the nearer keyframe decides."""


class Change(NamedTuple):
    """At one keyframe: its `shot`, the clip's `frame`, uint8 (H, W, 3), and edit minus clip, float32 (H, W, 3).

    The frame may be reduced: it only says where things are.
    """

    shot: int
    frame: np.ndarray
    difference: np.ndarray


@dataclass(frozen=True)
class Carried:
    """One frame of the result and the clip's own, uint8 (H, W, 3).

    `unfollowed`: the share of its pixels that could be followed to neither keyframe.
    """

    source: np.ndarray
    frame: np.ndarray
    unfollowed: float
    keyframe: bool


def spread(
    frames: Iterable[np.ndarray], keyframes: Keyframes, changes: Iterable[Change], agreement: int
) -> Iterator[Carried]:
    """`carried`, after keyframes have `agreed` with `agreement` neighbours; with none, changes stay as they come."""
    return carried(frames, keyframes, agreed(changes, agreement), to_colors=agreement > 0)


def carried(
    frames: Iterable[np.ndarray], keyframes: Keyframes, changes: Iterable[Change], *, to_colors: bool = False
) -> Iterator[Carried]:
    """All `frames` of a clip, uint8 (H, W, 3), edited, in order; `changes` are those of its keyframes, in order.

    With `to_colors` the change of every frame, of keyframes too, is `fitted` to the frame's own colours. Held at
    a time are one frame and the changes at two keyframes, however far these are apart. Raises `ValueError` where frames
    or changes run out.
    """
    incoming, coming = iter(frames), iter(changes)
    before: tuple[int, Change] | None = None
    for index, shot in zip(keyframes.indices, keyframes.shots, strict=True):
        after, reached = next(coming, None), -1 if before is None else before[0]
        if after is None:
            raise ValueError(f"frames or changes end before keyframe {index}")
        after = after._replace(shot=shot, frame=reduced(after.frame))
        if index > reached + 1 and (before is None or before[1].shot != shot):
            raise ValueError(f"the frames before keyframe {index} have no keyframe of their shot before them")
        for place in range(reached + 1, index + 1):
            frame = next(incoming, None)
            if frame is None:
                raise ValueError(f"frames or changes end before keyframe {index}")
            change, lost = after.difference, 0.0
            if place != index:
                change, lost = _between(frame, before[1], after, (place - reached, index - place))
            edited = added(frame, fitted(change, frame) if to_colors else change)
            yield Carried(frame, edited, lost, place == index)
        before = (index, after)


def _between(frame: np.ndarray, before: Change, after: Change, distances: tuple[int, int]) -> tuple[np.ndarray, float]:
    """What changes in a frame between two keyframes, at these `distances` from them, in frames; and the
    share of its pixels that were followed to neither."""
    here = reduced(frame)
    matches = [match(here, change.frame) for change in (before, after)]
    sure = [m.confidence for m in matches]
    weights = [(c + FLOOR) / d for c, d in zip(sure, distances, strict=True)]
    share = cv2.resize(weights[0] / (weights[0] + weights[1]), frame.shape[1::-1])
    moved = [m.warped(change.difference) for m, change in zip(matches, (before, after), strict=True)]
    lost = float((np.maximum(*sure) < FOLLOWED).mean())
    return cv2.blendLinear(*moved, share, 1 - share), lost


def added(frame: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The frame, uint8 (H, W, 3), and a float32 change of it, rounded into 0 to 255."""
    return cv2.add(frame, change, dtype=cv2.CV_8U)


def difference(edited: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Edited frame minus frame, both uint8 (H, W, 3), as float32."""
    return cv2.subtract(edited, frame, dtype=cv2.CV_32F)


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
    shot, here, mean = held[centre]
    size, weight = mean.shape[1::-1], np.ones(mean.shape[:2], np.float32)
    for i, change in enumerate(held):
        if i == centre or change.shot != shot:
            continue
        found = match(here, change.frame)
        sure = cv2.resize(found.confidence, size)
        weight += sure
        share = sure / weight  # blendLinear divides by the sum of both shares and 0.00001
        mean = cv2.blendLinear(mean, found.warped(change.difference), 1 - share, share)
    return mean
