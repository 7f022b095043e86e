"""Frames in windows: what passes the UNet at once, and what a window knows of the frames outside it.

Within one step the windows follow each other. Attention to the first and the previous frame stays exact, because the
keys and values of those two are kept until the step ends. Layers that see all frames see the window and the anchors of
its shot, a few frames spread over it that pass first.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import torch

from editor.diffusion.memory import LARGEST_WINDOW, give_back

ANCHORS = 8
"""Frames of a shot that every window of it sees: each costs a pass of its own per step."""


@dataclass(frozen=True)
class Window:
    """Frames `start` to `stop` - 1 of a clip. `anchors`: frames of their shot that dense layers see as well.

    `leads`: it is the first window of its shot, so its anchors have not passed yet.
    """

    start: int
    stop: int
    anchors: tuple[int, ...] = ()
    leads: bool = False


def plan_windows(shots: Sequence[int], size: int = LARGEST_WINDOW, anchors: int = ANCHORS) -> tuple[Window, ...]:
    """Windows of at most `size` frames; `shots[i]`, rising, is the number of the shot that frame i is in.

    A window holds whole shots, or a part of a longer one, which has at most `anchors` of its frames as anchors. A clip
    that fits is one window. Raises `ValueError` for sizes below 1.
    """
    if size < 1:
        raise ValueError(f"a window of {size} frames holds nothing")
    if len(shots) <= size:
        return (Window(0, len(shots)),)
    windows: list[Window] = []
    begun = at = 0
    for length in (len(list(shot)) for _, shot in groupby(shots)):
        if at > begun and at + length - begun > size:
            windows.append(Window(begun, at))
            begun = at
        if length > size:
            spread = _spread(at, length, min(anchors, size))
            borders = [at + length * i // -(-length // size) for i in range(-(-length // size) + 1)]
            windows += [Window(*part, spread, leads=part[0] == at) for part in pairwise(borders)]
            begun = at + length
        at += length
    if at > begun:
        windows.append(Window(begun, at))
    return tuple(windows)


def _spread(start: int, length: int, count: int) -> tuple[int, ...]:
    """`count` frames evenly over `length` of them from `start` on, the first and the last included."""
    if count < 2:
        return (start,) * count
    count = min(count, length)
    return tuple(start + i * (length - 1) // (count - 1) for i in range(count))


@dataclass
class Kept:
    """Keys and values that later windows of the same step need, (R, frames, N, heads, d), by layer and kind."""

    first: dict[Hashable, torch.Tensor] = field(default_factory=dict)
    previous: dict[Hashable, torch.Tensor] = field(default_factory=dict)
    anchors: dict[Hashable, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """One call of the UNet within a step: its `frames`, rising, and what is `kept` from the calls before it.

    `leading`: these are the anchors of a shot, of which the layers that see all frames keep what later ones need.
    `outside`: which of the anchors are not among the frames.
    """

    frames: tuple[int, ...]
    kept: Kept
    leading: bool = False
    outside: tuple[int, ...] = ()

    @property
    def places(self) -> slice | list[int]:
        """The frames as an index: a slice where they are neighbours, which needs no copy."""
        return list(self.frames) if self.leading else slice(self.frames[0], self.frames[-1] + 1)

    def first_and_previous(self, layer: Hashable, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of `rows` (R, F, N, heads, d) the clip's first frame and the one before the first of them, (R, 1, ...) each.

        The first frame of a clip is before itself, as published. For anchors the frame before is the anchor before.
        """
        begins = self.frames[0] == 0
        first = rows[:, :1] if begins else self.kept.first[layer]
        previous = rows[:, :1] if begins else self.kept.previous[layer]
        if not self.leading:
            if begins:
                self.kept.first[layer] = first.clone()  # copies: a part would hold on to the whole
            self.kept.previous[layer] = rows[:, -1:].clone()
        return first, previous

    def with_anchors(self, layer: Hashable, rows: torch.Tensor) -> torch.Tensor:
        """`rows` (R, F, N, heads, d) and, in front of them, the anchors that are not among them."""
        if self.leading:
            self.kept.anchors[layer] = rows
        if not self.outside:
            return rows
        return torch.cat([self.kept.anchors[layer][:, list(self.outside)], rows], dim=1)


def passages(windows: Sequence[Window]) -> Iterator[Passage]:
    """The calls of one step, in order. What was freed before a call goes back to the system."""
    kept = Kept()
    for window in windows:
        if window.leads:
            give_back()
            yield Passage(window.anchors, kept, leading=True)
        frames = tuple(range(window.start, window.stop))
        outside = tuple(i for i, frame in enumerate(window.anchors) if frame not in frames)
        give_back()
        yield Passage(frames, kept, outside=outside)


def seen(scope: str, layer: Hashable, rows: torch.Tensor, passage: Passage | None = None) -> torch.Tensor:
    """Keys or values `rows` (R, F, N, heads, d) as an attention `layer` of this `scope` shows them to its queries.

    dense: those of all frames, as one sequence per row. first: those of frame 0, likewise. sparse: for each frame those
    of frame 0 and of the frame before it, (R*F, 2N, heads, d); frame 0 meets itself twice, as published.
    """
    if scope == "dense":
        return (passage.with_anchors(layer, rows) if passage else rows).flatten(1, 2)
    first, before = passage.first_and_previous(layer, rows) if passage else (rows[:, :1], rows[:, :1])
    if scope == "first":
        return first.flatten(1, 2)
    previous = torch.cat([before, rows[:, :-1]], dim=1)
    return torch.cat([first.expand_as(rows), previous], dim=2).flatten(0, 1)
