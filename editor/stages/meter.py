"""What an edit costs while it runs: seconds and UNet evaluations per stage, and how long the rest will take.

Work is counted in UNet evaluations: one row of one frame through the UNet is 1, a backward pass 1.08.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from editor.events import Emit, Progress, Stage

UNET_STAGES = (Stage.INVERT, Stage.NULL_TEXT, Stage.EDIT)


class Meter:
    """Times stages, collects their UNet evaluations and reports `Progress` through `emit`, which may raise to cancel.

    `expected` is the work that each stage is likely to be, in UNet evaluations; only the time left depends on it.
    """

    def __init__(self, emit: Emit, expected: Mapping[Stage, float]) -> None:
        self.emit = emit
        self.expected = dict(expected)
        self.seconds: dict[str, float] = {}
        self.evaluations: dict[str, float] = {}
        self._share = dict.fromkeys(expected, 0.0)
        self._stage = Stage.PREPARE
        self._part = (0, 1)
        self._began = self.started = time.monotonic()

    @contextmanager
    def stage(self, stage: Stage, total: int = 1, message: str = "", part: tuple[int, int] = (0, 1)) -> Iterator[None]:
        """Time what happens inside. `part` (i, n): this is the i-th of n equal parts, e.g. one of several targets."""
        self._stage, self._began, self._part = stage, time.monotonic(), part
        self.step(0, total, message)
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - self._began
            self._began = time.monotonic()
        self._share[stage] = (part[0] + 1) / part[1]

    @contextmanager
    def aside(self, name: str) -> Iterator[None]:
        """Time what happens inside under `name` and not as part of the stage it interrupts."""
        began = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self._began += spent

    def step(self, done: int, total: int, message: str = "") -> None:
        """Report that `done` of `total` units of the current stage are through."""
        index, parts = self._part
        self._share[self._stage] = (index + done / max(1, total)) / parts
        self.emit(Progress(self._stage, done, total, self.seconds_left(), message))

    def count(self, stage: Stage, evaluations: float) -> None:
        """Add UNet evaluations, rows times frames, to a stage."""
        self.evaluations[stage] = self.evaluations.get(stage, 0.0) + evaluations

    def elapsed(self) -> float:
        """Seconds since the edit began."""
        return time.monotonic() - self.started

    def skip(self, *stages: Stage) -> None:
        """These stages will not be needed: their result was in the cache."""
        for stage in stages:
            self.expected[stage] = 0.0

    def seconds_left(self) -> float | None:
        """Seconds until the edit is done, from the pace of the UNet stages so far; None before they began.

        The VAE and the disk have a pace of their own; what is left of them is taken at the UNet's.
        """
        paced = {s: self._share.get(s, 0.0) * self.expected.get(s, 0.0) for s in UNET_STAGES}
        work = sum(paced.values())
        if work <= 0:
            return None
        spent = sum(self.seconds.get(s, 0.0) for s in UNET_STAGES)
        if self._stage in UNET_STAGES:
            spent += time.monotonic() - self._began
        left = sum(amount * (1 - self._share.get(s, 0.0)) for s, amount in self.expected.items())
        return spent / work * left
