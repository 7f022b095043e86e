"""The executor without a process of its own: the calling thread computes."""

import threading

from editor.jobs.executor import Outcome, Report, Task
from editor.jobs.perform import Performer
from editor.jobs.timing import Timing
from editor.settings import Settings


class InlineExecutor:
    """Computes in the thread that calls `run`, for hosts that lend the device to that very call, and for tests.

    It cannot be killed: a stop takes effect at the engine's next event, and a crash takes the server along.
    """

    slots = ("device",)

    def __init__(self, engine: str, settings: Settings, timing: Timing) -> None:
        self._performer = Performer(engine, settings, timing.preview)

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Compute `task` here and now."""
        return self._performer.run(slot, task, report, stop.is_set)

    def heartbeat_age(self) -> float | None:
        """There is no worker to listen to."""
        return None

    def close(self) -> None:
        """Nothing to end: the runner's stop signal reaches the engine at its next event."""
