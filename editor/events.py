"""What a running edit says to whoever follows it. No torch here: jobs and web import this module.

Every stage of `pipeline.edit` reports through one callable, `emit(event)`. It is the only place where cancelling
takes effect: whoever wants to stop an edit passes an `emit` that raises `Cancelled`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np


class Stage(StrEnum):
    """The stages of an edit, in their order."""

    PREPARE = "prepare"
    ENCODE = "encode"
    INVERT = "invert"
    NULL_TEXT = "null_text"
    EDIT = "edit"
    DECODE = "decode"
    WRITE = "write"


@dataclass(frozen=True)
class Progress:
    """How far a stage is: `done` of `total` units; `seconds_left` is for the whole edit, None if unknown."""

    stage: Stage
    done: int
    total: int
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Preview:
    """The decoded guess of the clean frames while denoising.

    `original` and `guess` are uint8 (F, H, W, 3) of equal shape; `target_index` counts the request's targets from 0.
    """

    target_index: int
    step: int
    steps: int
    original: np.ndarray
    guess: np.ndarray


@dataclass(frozen=True)
class EditResult:
    """The finished files of one target prompt; `summary` repeats the manifest's headline numbers."""

    target: str
    edited: Path
    side_by_side: Path
    poster: Path
    manifest: Path
    summary: dict[str, float | int | str | None]


@dataclass(frozen=True)
class Finished:
    """The edit is complete: one result per target prompt, in the request's order."""

    results: tuple[EditResult, ...]


@dataclass(frozen=True)
class Failed:
    """The edit ended without a result; `message` is written for a person."""

    message: str


Event = Progress | Preview | Finished | Failed
Emit = Callable[[Event], None]


class EditError(Exception):
    """Something a person can mend: the text names what was given, what is allowed and what to do next."""


class Cancelled(Exception):
    """Raised out of `emit` when somebody asked the edit to stop."""


def ignore(event: Event) -> None:
    """An `emit` that nobody listens to."""
