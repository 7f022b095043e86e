"""Where a job is computed. The runner knows only this interface.

`ProcessExecutor` (editor/jobs/process.py) is the usual one. `InlineExecutor` computes in the calling thread, for hosts
that lend the device to the calling event only, and for tests. One that reaches other machines fits the same way: one
slot per device, `run` blocks while it forwards what the remote worker says.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from editor.events import EditResult, Progress
from editor.request import EditRequest


@dataclass(frozen=True)
class Task:
    """One run of one job. `folder` is the run's own: it holds clip.mp4 and takes the results."""

    folder: Path
    preview: Path
    """Where the latest preview is to be put, atomically."""
    request: EditRequest
    seconds: float | None = None
    """How long it is expected to take."""


@dataclass(frozen=True)
class PreviewSaved:
    """The file `Task.preview` has new content."""

    target_index: int
    step: int
    steps: int


class Ending(Enum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """It honoured the stop signal, or was killed because it did not."""
    LOST = "lost"
    """The worker ended without a word."""
    ABSENT = "absent"
    """The device was not there, so nothing was begun."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: `results` when done, a `message` for a person when failed, for the log when lost."""

    ending: Ending
    results: tuple[EditResult, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Pulse:
    """A sign of life of what computes on one slot."""

    slot: str
    age: float | None = None
    """Seconds since it was last heard; None where none runs: not started yet, ended, or computing in a thread."""


Report = Callable[[Progress | PreviewSaved], None]


class Executor(Protocol):
    """Computes tasks, one at a time per slot."""

    lent: bool
    """Whether the device is lent to the calling event only, so that every job is computed by an event of its visitor:
    `JobService.compute`."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the devices; one job runs on each at a time, over all servers that share the store. They may change
        where machines come and go."""
        ...

    def warm(self) -> None:
        """Begin to load what first tasks would wait for, where that can be done before anybody asks."""
        ...

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Compute `task` and return when nothing of it runs any more. `stop` asks to end early."""
        ...

    def pulses(self) -> tuple[Pulse, ...]:
        """When the worker of every slot was last heard."""
        ...

    def close(self) -> None:
        """End workers now; runs in progress return `LOST` or `STOPPED`."""
        ...
