"""The executor of Hugging Face's shared GPUs (ZeroGPU), which are lent to one function call of a visitor's event.

The `spaces` package runs the decorated function in a forked process that has the GPU, on the visitor's quota. Outside
Spaces it leaves the function as it is, so everything but the loan itself is the same there.
"""

import html
import math
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editor.events import EditError
from editor.jobs.executor import Ending, Outcome, Pulse, Report, Task
from editor.jobs.perform import Performer, explain, without_paths
from editor.jobs.timing import Timing
from editor.jobs.wire import Run, Setup, decode, encode
from editor.settings import Settings

SLOT = "zerogpu"
LOADING = 30
"""Seconds asked for beyond the edit: every loan begins with loading the model."""
DOUBT = 1.5
"""What an edit takes at most, relative to its estimate."""
_LOOK = 0.2


class LentExecutor:
    """Computes in the function that the `spaces` package decorates. A stop takes effect at the engine's next event."""

    lent = True
    slots = (SLOT,)

    def __init__(self, engine: str, settings: Settings, timing: Timing) -> None:
        try:
            import spaces
        except ModuleNotFoundError:
            raise EditError(
                "EDITOR_EXECUTOR=zerogpu needs the package spaces, which Spaces with ZeroGPU have."
            ) from None
        self._setup = encode(Setup(engine, settings, timing))
        self._limit = settings.job_seconds
        self._computed = spaces.GPU(duration=loan)(computed)

    def warm(self) -> None:
        """Nothing: every loan loads the model itself."""

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Compute `task` with a GPU of the pool; waits for one as long as Spaces does."""
        flag = task.folder / "stop"
        seconds = self._limit if task.seconds is None else min(self._limit, LOADING + math.ceil(DOUBT * task.seconds))
        try:
            with _raised(flag, stop):
                for line in self._computed(self._setup, encode(Run(slot, task)), str(flag), seconds):
                    message = decode(line)
                    if isinstance(message, Outcome):
                        return message
                    report(message)
        except Exception as error:
            return Outcome(Ending.STOPPED if stop.is_set() else Ending.FAILED, message=refusal(error))
        return Outcome(Ending.LOST, message="the loan of the GPU ended")

    def pulses(self) -> tuple[Pulse, ...]:
        """Nothing waits for work, so nothing has a heartbeat."""
        return (Pulse(SLOT),)

    def close(self) -> None:
        """Nothing to end: the runner's stop signal reaches the engine at its next event."""


def loan(setup: bytes, run: bytes, flag: str, seconds: int) -> int:
    """For how many seconds `computed` asks for a GPU; Spaces compares it with what the visitor has left."""
    return seconds


def computed(setup: bytes, run: bytes, flag: str, seconds: int) -> Iterator[bytes]:
    """What runs on the GPU: `worker.main` without the pipes. The outcome is the last of the messages.

    The file `flag` is the stop signal, because this may be another process.
    """
    asked: Setup = decode(setup)
    work: Run = decode(run)
    said: queue.SimpleQueue = queue.SimpleQueue()
    performer = Performer(asked.engine, asked.settings, asked.timing.preview)

    def perform() -> None:
        said.put(performer.run(work.slot, work.task, said.put, Path(flag).exists))

    threading.Thread(target=perform, daemon=True).start()
    while True:
        message = said.get()
        yield encode(message)
        if isinstance(message, Outcome):
            return


def refusal(error: Exception) -> str:
    """A sentence for a visitor: Spaces' own where it refuses or ends a loan (quota, time), as plain text."""
    said = getattr(error, "message", None)  # gradio.Error, which is not imported here
    return without_paths(html.unescape(re.sub(r"<[^>]*>", "", said))) if isinstance(said, str) else explain(error)


@contextmanager
def _raised(flag: Path, stop: threading.Event) -> Iterator[None]:
    """Raise the flag when `stop` is set, however long nothing is said meanwhile."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            if stop.wait(_LOOK):
                flag.touch()
                return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
        flag.unlink(missing_ok=True)
