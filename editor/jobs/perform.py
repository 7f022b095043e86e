"""Run the engine in this process: under the device lock, stoppable at every event, failures told in plain words."""

import importlib
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from editor.events import (
    DISK_FULL,
    OUT_OF_MEMORY,
    Cancelled,
    EditError,
    EditResult,
    Emit,
    Event,
    Preview,
    Progress,
    is_disk_full,
    is_out_of_memory,
)
from editor.jobs.devices import SINGLE, lock_name
from editor.jobs.executor import Ending, Outcome, PreviewSaved, Pulse, Report, Task
from editor.jobs.timing import Timing
from editor.media import write_preview
from editor.request import EditRequest
from editor.settings import Settings

log = logging.getLogger(__name__)

Engine = Callable[[Path, EditRequest, Settings, Emit], tuple[EditResult, ...]]
_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:\\|/)(?:[^\s/\\'\"]+[/\\])+([^\s/\\'\"]*)")
_PATIENCE = 0.2
"""Seconds between two looks at `stopped` while another process holds the device."""


class Performer:
    """Runs tasks with the engine named "module:function", which is imported when it is first needed and kept.

    A module may have a function `warm(settings)` too, which loads what most first tasks would wait for.
    """

    def __init__(self, engine: str, settings: Settings, preview_interval: float) -> None:
        self.engine = engine
        self.settings = settings
        self.preview_interval = preview_interval

    def warm(self) -> None:
        """Do what the first task would wait for. Raises nothing: what fails here fails there again, in words."""
        try:
            warm = getattr(importlib.import_module(self.engine.partition(":")[0]), "warm", None)
            if warm is not None:
                warm(self.settings)
        except Exception as error:  # the first task tells its visitor
            log.warning("nothing could be loaded before the first edit: %s", error)

    def run(self, slot: str, task: Task, report: Report, stopped: Callable[[], bool]) -> Outcome:
        """Compute `task` on the device `slot` as soon as that is free. Raises nothing: every end is an `Outcome`."""
        try:
            engine = self._load()
            emit = Reporter(task, report, stopped, self.preview_interval)
            with device_lock(self.settings.data / f"{lock_name(slot)}.lock", stopped):
                return Outcome(Ending.DONE, results=engine(task.folder, task.request, self.settings, emit))
        except Cancelled:
            return Outcome(Ending.STOPPED)
        except EditError as error:
            log.info("the edit in %s ended: %s", task.folder, error)
            return Outcome(Ending.FAILED, message=without_paths(str(error)))
        except Exception as error:  # whatever an engine may raise must reach the visitor as a sentence
            log.exception("the edit in %s failed", task.folder)
            return Outcome(Ending.FAILED, message=explain(error))

    def _load(self) -> Engine:
        module, _, function = self.engine.partition(":")
        return getattr(importlib.import_module(module), function)


class InlineExecutor:
    """Computes in the thread that calls `run`, for hosts that lend the device to that very call, and for tests.

    It cannot be killed: a stop takes effect at the engine's next event, and a crash takes the server along.
    """

    lent = False
    slots = (SINGLE,)

    def __init__(self, engine: str, settings: Settings, timing: Timing) -> None:
        self._performer = Performer(engine, settings, timing.preview)

    def warm(self) -> None:
        """Nothing: the device is not there yet."""

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Compute `task` here and now."""
        return self._performer.run(slot, task, report, stop.is_set)

    def pulses(self) -> tuple[Pulse, ...]:
        """A thread of this process, which has no heartbeat."""
        return (Pulse(SINGLE),)

    def close(self) -> None:
        """Nothing to end: the runner's stop signal reaches the engine at its next event."""


class Reporter:
    """The `emit` that an engine gets: raises `Cancelled` when asked to stop, turns previews into files."""

    def __init__(self, task: Task, report: Report, stopped: Callable[[], bool], interval: float) -> None:
        self.task = task
        self.report = report
        self.stopped = stopped
        self.interval = interval
        self._next_preview = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event of the edit."""
        if self.stopped():
            raise Cancelled
        if isinstance(event, Progress):
            self.report(event)
        elif isinstance(event, Preview) and time.monotonic() >= self._next_preview:
            self._save(event)
            self._next_preview = time.monotonic() + self.interval

    def _save(self, event: Preview) -> None:
        """Replace the preview file at once; an edit does not fail for a preview that could not be written."""
        try:
            rate = self.task.request.key_fps / event.stride
            write_preview(event.original, event.guess, self.task.preview, rate)
        except (OSError, EditError):
            log.warning("could not write the preview %s", self.task.preview, exc_info=True)
            return
        self.report(PreviewSaved(event.target_index, event.step, event.steps))


def explain(error: Exception) -> str:
    """A sentence for a person about an error nobody foresaw."""
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if is_disk_full(error):
        return DISK_FULL
    return f"The edit failed because of an error in the program ({type(error).__name__}). The server's log has details."


def without_paths(text: str) -> str:
    """A message for a visitor: of every absolute path only the last name, for the rest is about this server."""
    return _PATH.sub(r"\1", text)


@contextmanager
def device_lock(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold the device named by the file `path`. Raises `Cancelled` when `stopped()` turns true while waiting.

    The lock is an open exclusive transaction of an empty SQLite file: the operating system frees it when the process
    dies, however it dies, and it works alike on Linux, macOS and Windows, between processes and between threads.
    """
    with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as held:
        while not _acquired(held):
            if stopped():
                raise Cancelled
            time.sleep(_PATIENCE)
        yield


def _acquired(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    return True
