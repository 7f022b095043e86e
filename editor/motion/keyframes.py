"""The shots of a clip, and which of its frames are edited. Chosen from the clip alone, before any model runs."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np

from editor.motion.flow import FOLLOWED, match, reduced

CUT = 0.5
"""A new shot begins where more than this share of a frame cannot be followed from the frame before.

Measured on frames of 256 pixels: 0.55 to 1.0 across cuts, up to 0.4 in fast motion at 8 frames per second."""

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


PLANNING_SIDE = 256
"""Longer side of the frames that keyframes are chosen by: enough to see what is hidden, and cheap."""

UNFOLLOWED = 0.05
"""A frame is a keyframe of its own when more than this share of it cannot be followed from either neighbour."""


@dataclass(frozen=True)
class Keyframes:
    """The frames to edit: `indices` rising, `shots[i]` the number of the shot that keyframe i is in.

    The first and the last frame of every shot are among them. `frames`: how many frames they are enough for, counted
    from the clip's first. `left_out`: how many more there would be if that many were allowed.
    """

    indices: tuple[int, ...]
    shots: tuple[int, ...]
    frames: int
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def every(cls, frames: int) -> Self:
        """All frames of a clip of one shot."""
        return cls(tuple(range(frames)), (0,) * frames, frames)


def choose_keyframes(frames: Iterable[np.ndarray], stride: int, most: int | None = None) -> Keyframes:
    """Choose keyframes of a clip, uint8 (h, w, 3), of at least one frame.

    Every `stride`-th frame of each shot, its first and its last, and in between wherever more than `UNFOLLOWED` of a
    frame can be followed from neither neighbour. Of the last kind those that can be followed least, where `most` does
    not allow all. Where it does not even allow the others, they end early.
    """
    if stride < 1 or (most is not None and most < 1):
        raise ValueError(f"stride and most must be 1 or more, not {stride=} and {most=}")
    regular: dict[int, int] = {}
    further: dict[int, tuple[float, int]] = {}
    span: list[np.ndarray] = []  # from the last keyframe on
    shot, count = -1, 0

    def close() -> None:
        """The span's last frame becomes a keyframe, and between its ends what cannot be followed."""
        regular[count - 1] = shot
        for place, share in _missed(span, 0, len(span) - 1):
            further[count - len(span) + place] = (share, shot)

    for frame, starts in with_cuts(reduced(frame, PLANNING_SIDE) for frame in frames):
        if starts:
            if span:
                close()
            shot, span = shot + 1, []
        span.append(frame)
        count += 1
        if starts:
            regular[count - 1] = shot
        elif len(span) > stride:
            close()
            span = span[-1:]
    if not count:
        raise ValueError("a clip without frames has no keyframes")
    close()
    return _allowed(regular, further, count, most)


def _allowed(
    regular: dict[int, int], further: dict[int, tuple[float, int]], frames: int, most: int | None
) -> Keyframes:
    """At `most` so many keyframes of a clip of `frames` frames: first the regular ones, then the least followed."""
    wanted = len(regular) + len(further)
    if most is not None and len(regular) > most:
        regular = dict(sorted(regular.items())[:most])
        frames, further = max(regular) + 1, {}
    room = len(further) if most is None else most - len(regular)
    least = sorted(further, key=lambda index: further[index], reverse=True)[:room]
    chosen = regular | {index: further[index][1] for index in least}
    indices = tuple(sorted(chosen))
    return Keyframes(indices, tuple(chosen[i] for i in indices), frames, wanted - len(indices))


def _missed(span: list[np.ndarray], left: int, right: int) -> list[tuple[int, float]]:
    """The places between two keyframes of a span that must be keyframes too, and the share of each that is missed."""
    if right - left < 2:
        return []
    shares = [_unfollowed(span[i], span[left], span[right]) for i in range(left + 1, right)]
    if max(shares) <= UNFOLLOWED:
        return []
    worst = left + 1 + int(np.argmax(shares))
    return [(worst, max(shares)), *_missed(span, left, worst), *_missed(span, worst, right)]


def _unfollowed(frame: np.ndarray, *neighbours: np.ndarray) -> float:
    """The share of `frame` that can be followed to none of its neighbours."""
    surest = np.maximum.reduce([match(frame, other, quick=True).confidence for other in neighbours])
    return float((surest < FOLLOWED).mean())
