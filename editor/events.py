"""What a running edit says to whoever follows it. No torch here: jobs and web import this module.

Every stage of `pipeline.edit` reports through one callable, `emit(event)`. It is the only place where cancelling
takes effect: whoever wants to stop an edit passes an `emit` that raises `Cancelled`.
"""

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

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
    """How far a stage has got: `done` of `total` units; `seconds_left` is for the whole edit, None if unknown."""

    stage: Stage
    done: int
    total: int
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Preview:
    """The decoded guess of the clean frames while denoising.

    `original` and `guess` are uint8 (F, H, W, 3) of equal shape, every `stride`-th keyframe; `target_index` counts the
    request's targets from 0.
    """

    target_index: int
    step: int
    steps: int
    original: np.ndarray
    guess: np.ndarray
    stride: int = 1


@dataclass(frozen=True)
class EditResult:
    """The result of one target prompt: its files in a `folder` of their own, and the manifest's headline numbers.

    `word_maps` in the `summary`, where they were asked for, says what is in the file of that name.
    """

    target: str
    folder: Path
    summary: dict[str, Any]

    @property
    def edited(self) -> Path:
        """The edited clip."""
        return self.folder / "edited.mp4"

    @property
    def side_by_side(self) -> Path:
        """The original and the edited clip in one picture."""
        return self.folder / "side_by_side.mp4"

    @property
    def poster(self) -> Path:
        """One frame of the edited clip."""
        return self.folder / "poster.webp"

    @property
    def word_maps(self) -> Path:
        """Where each word was looked for, as one picture; there only if it was asked for."""
        return self.folder / "word_maps.webp"

    @property
    def manifest(self) -> Path:
        """How it was made, as JSON. Written last: if it exists, the others are complete."""
        return self.folder / "manifest.json"

    @property
    def files(self) -> dict[str, Path]:
        """Those that there are by name, in the order in which they are put in place."""
        asked = ("word_maps",) if self.summary.get("word_maps") else ()
        return {name: getattr(self, name) for name in ("edited", "side_by_side", "poster", *asked, "manifest")}

    def read_manifest(self) -> dict[str, Any]:
        """The manifest's content. Raises `OSError` or `ValueError` if there is no finished result."""
        return json.loads(self.manifest.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Tick:
    """Nothing new: a moment at which an edit can be stopped. There are hundreds in a denoising step."""


@dataclass(frozen=True)
class Finished:
    """The edit is complete: one result per target prompt, in the request's order."""

    results: tuple[EditResult, ...]


@dataclass(frozen=True)
class Failed:
    """The edit ended without a result; `message` is written for a person."""

    message: str


Event = Progress | Preview | Tick | Finished | Failed
Emit = Callable[[Event], None]


class EditError(Exception):
    """Something a person can fix: the text names what was given, what is allowed and what to do next."""


DISK_FULL = "The disk is full. Please free some space, or try again later."
OUT_OF_MEMORY = (
    "There is not enough memory for this edit. Use fewer frames (max_frames), a smaller picture (size) or fewer target "
    "prompts; on a GPU, EDITOR_OFFLOAD=model helps as well."
)


def is_disk_full(error: BaseException) -> bool:
    """Whether the operating system says that nothing more fits on the disk."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, one of its libraries (cuBLAS, cuDNN) or Python says that there is no memory left.

    PyTorch's class is told by its name, because torch is not imported here; its CPU allocator has none of its own.
    """
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    signs = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


class Cancelled(Exception):
    """Raised out of `emit` when somebody asked the edit to stop."""


def ignore(event: Event) -> None:
    """An `emit` to which nobody listens."""
