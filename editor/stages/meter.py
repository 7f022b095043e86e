"""What an edit takes while it runs: seconds and UNet evaluations per stage, and how long the rest will take.

Work is counted in UNet evaluations: one row of one frame through the UNet is 1, a backward pass 1.08. Here as well: how
much is worked on at once, and less and less of it when memory runs out.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from editor.events import OUT_OF_MEMORY, EditError, Emit, Progress, Stage, is_out_of_memory

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

    def step(self, done: int, total: int, message: str = "", part: float = 0.0) -> None:
        """Report that `done` of `total` units of the current stage are through, and `part` of the next one."""
        index, parts = self._part
        self._share[self._stage] = (index + (done + part) / max(1, total)) / parts
        self.emit(Progress(self._stage, done, total, self.seconds_left(), message))

    def count(self, stage: Stage, evaluations: float) -> None:
        """Add UNet evaluations, rows times frames, to a stage."""
        self.evaluations[stage] = self.evaluations.get(stage, 0.0) + evaluations

    def elapsed(self) -> float:
        """Seconds since the edit began."""
        return time.monotonic() - self.started

    def expect(self, stage: Stage, evaluations: float) -> None:
        """A stage is likely to be this much work, now that more is known."""
        self.expected[stage] = evaluations

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


T = TypeVar("T")


@dataclass(frozen=True)
class Chunks:
    """How many frames the VAE takes at a time, frames the inversion, target prompts and frames the edit (None: all).

    `tile`: side in pixels of the tiles that the VAE works in, None: whole pictures.
    """

    vae: int = 4
    tile: int | None = None
    frames: int | None = None
    targets: int | None = None
    window: int | None = None
    previews: bool = True


SMALLEST_TILE = 128
"""Pixels; below that the overlap of the tiles is most of the work."""


class Memory:
    """The chunks in use. They shrink when memory ran out, each for its own stage, and stay small for the whole edit."""

    def __init__(self) -> None:
        self.chunks = Chunks()
        self.notes: list[str] = []

    def within(self, part: str, whole: int, work: Callable[[Chunks], T]) -> T:
        """Call `work` with the chunks; whenever memory runs out, again with half of its `part`, until it fits.

        `part`: vae, frames or targets; `whole`: how many there are, for the VAE the longer side in pixels, since its
        last resort are tiles. That of the targets are smaller windows. Raises `EditError` when the smallest pieces are
        too much as well. Other errors pass.
        """
        while True:
            try:
                return work(self.chunks)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                smaller = halved(self.chunks, part, whole)
                if smaller is None:
                    raise EditError(OUT_OF_MEMORY) from error
            # out of the handler: the failed attempt's tensors hang on its traceback
            self.notes.append(f"memory ran out: {_said(self.chunks, smaller)} from then on")
            self.chunks = replace(smaller, previews=False)
            release()


def halved(chunks: Chunks, part: str, whole: int) -> Chunks | None:
    """The chunks with half as much of `part`; None where it cannot get smaller."""
    if part == "vae" and chunks.vae == 1:
        tile = (chunks.tile or whole) // 2
        return replace(chunks, tile=tile) if tile >= SMALLEST_TILE else None
    now = min(getattr(chunks, part) or whole, whole)
    if part == "targets" and now == 1:
        part, now = "window", chunks.window or 1
    return replace(chunks, **{part: (now + 1) // 2}) if now > 1 else None


def _said(before: Chunks, after: Chunks) -> str:
    """How the work goes on, for the manifest."""
    if before.tile != after.tile:
        return f"the VAE works in tiles of {after.tile} pixels"
    names = {"vae": "frames through the VAE", "targets": "target prompts", "frames": "frames", "window": "frames"}
    part = next(name for name in names if getattr(before, name) != getattr(after, name))
    return f"at most {getattr(after, part)} {names[part]} at a time"


def release() -> None:
    """Give back what the failed attempt still holds."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
