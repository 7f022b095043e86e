"""Whether an edit can finish here at all: asked before it may wait, from what it is expected to take."""

from collections.abc import Iterator
from dataclasses import replace

import psutil

from editor.diffusion.memory import free_here
from editor.events import EditError
from editor.request import EditRequest
from editor.settings import Settings
from editor.web import texts
from editor.web.estimate import Cost, Pace, side

DOUBT = 3.0
"""A first guess of the time may be wrong by this factor, so only an edit beyond it is refused."""
SMALLEST_SIDE = 64


class Admission:
    """Refuses edits that would outlast the time limit or the memory of this machine, and says what would fit."""

    def __init__(self, pace: Pace, settings: Settings, devices: int = 1) -> None:
        self._pace = pace
        self._settings = settings
        self._devices = devices  # edits that may share this machine's memory

    def __call__(self, request: EditRequest, frames: int) -> float:
        """Seconds that `request` on `frames` frames will take. Raises `EditError` when it cannot finish here."""
        cost = self._pace.cost(request, frames)
        elsewhere = self._pace.on_gpu or self._settings.executor != "process"
        left = None if elsewhere else free_memory_gb()
        left = None if left is None else left / self._devices
        needed = self._pace.least_memory_gb(request, frames)
        if left is not None and needed > left:
            raise EditError(
                f"This edit needs about {needed:.1f} GB of memory and {left:.1f} GB are free here. "
                + self._advice(request, frames, left)
            )
        if cost.seconds > self._limit(cost):
            raise EditError(
                f"This edit would take about {texts.seconds(cost.seconds)}; the limit here is "
                f"{texts.seconds(self._settings.job_seconds)}. {self._advice(request, frames, left)}"
            )
        return cost.seconds

    def _limit(self, cost: Cost) -> float:
        return self._settings.job_seconds * (1.0 if cost.measured else DOUBT)

    def _advice(self, request: EditRequest, frames: int, left: float | None) -> str:
        """The largest cheaper edit of this kind that fits."""
        for cheaper, fewer, words in _cheaper(request, frames):
            cost = self._pace.cost(cheaper, fewer)
            fits = left is None or self._pace.least_memory_gb(cheaper, fewer) <= left
            if cost.seconds <= self._limit(cost) and fits:
                return f"It would fit with {words}."
        return "Try fewer frames, fewer steps, a smaller size or fewer targets."


def _cheaper(request: EditRequest, frames: int) -> Iterator[tuple[EditRequest, int, str]]:
    """Cheaper variants, each kind from the dearest on: fewer frames, a smaller size, then both."""
    sizes = range(side(request) - 64, SMALLEST_SIDE - 1, -64)
    for fewer in range(frames - 1, frames // 4, -max(1, frames // 32)):
        yield request, fewer, f"{fewer} frames"
    for size in sizes:
        yield replace(request, size=size), frames, f"a size of {size} pixels"
    for size in sizes:
        for fewer in range(frames // 2, 0, -max(2, frames // 32)):
            yield replace(request, size=size), fewer, f"a size of {size} pixels and {fewer} frames"


def free_memory_gb() -> float | None:
    """Memory that an edit could still have here: what is free, and what the worker process holds between edits.

    None where the system does not tell.
    """
    try:
        own = sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    except psutil.Error:
        return None
    free = free_here()
    return None if free is None else (free + own) / 1e9
