"""The executor of a Ray cluster, as the server sees it. Ray itself is loaded only in the processes it starts."""

import importlib.util
import json
import logging
import subprocess
import threading
import time

from editor.events import EditError
from editor.jobs.executor import Ending, Outcome, Pulse, Report, Task
from editor.jobs.process import Post, ProcessExecutor, module_process
from editor.jobs.timing import Timing
from editor.jobs.wire import Setup, encode
from editor.settings import Settings

log = logging.getLogger(__name__)


class RayExecutor(ProcessExecutor):
    """Runs tasks on the nodes of a Ray cluster, through one light worker process of this machine for each.

    Slots come and go with the nodes. A node that loses its worker rests for a while, so that its job runs elsewhere.
    """

    def __init__(self, engine: str, settings: Settings, timing: Timing) -> None:
        if importlib.util.find_spec("ray") is None:
            raise EditError("EDITOR_EXECUTOR=ray needs Ray: pip install -r requirements-cluster.txt.")
        self._posts = {}
        self._timing = timing
        self._setup = Setup(engine, settings, timing)
        self._resting: dict[str, float] = {}
        self._scout = Scout(self._setup)

    @property
    def slots(self) -> tuple[str, ...]:
        """The devices of all nodes that are there now."""
        now = time.monotonic()
        return tuple(slot for slot in self._scout.slots() if self._resting.get(slot, now) <= now)

    def warm(self) -> None:
        """Nothing: a node loads the model with its first job."""

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Have `task` computed on the slot's node."""
        self._posts.setdefault(slot, Post(self._setup, {}))
        outcome = super().run(slot, task, report, stop)
        if outcome.ending in (Ending.LOST, Ending.ABSENT):
            self._resting[slot] = time.monotonic() + self._timing.rest
        return outcome

    def pulses(self) -> tuple[Pulse, ...]:
        """When the process that speaks to each node was last heard."""
        posts = dict(self._posts)
        return tuple(Pulse(slot, posts[slot].age() if slot in posts else None) for slot in self.slots)

    def close(self) -> None:
        """End the processes, and with them their actors."""
        self._scout.close()
        super().close()


class Scout:
    """Knows the cluster's slots, from a process that looks at the nodes now and again. None are known while that is
    not heard: the head is gone, or the network to it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._patience = 5 * setup.timing.scout
        self._slots: tuple[str, ...] = ()
        self._heard = 0.0
        self._closed = False
        self._process: subprocess.Popen | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def slots(self) -> tuple[str, ...]:
        """The slots of all nodes with this version of the program."""
        return self._slots if time.monotonic() - self._heard < self._patience else ()

    def close(self) -> None:
        """End the process."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _serve(self) -> None:
        while not self._closed:
            self._process = process = module_process("editor.jobs.scout")
            watchdog = threading.Thread(target=self._watch, args=(process,), daemon=True)
            with process:
                process.stdin.write(encode(self._setup))
                process.stdin.flush()
                watchdog.start()
                for line in process.stdout:
                    self._slots, self._heard = tuple(json.loads(line)), time.monotonic()
            if not self._closed:
                log.warning("the Ray cluster at %s cannot be reached", self._setup.settings.ray_address)
                time.sleep(self._setup.timing.scout)

    def _watch(self, process: subprocess.Popen) -> None:
        """Thread: end a process that hangs, as one does for a minute where the head has gone."""
        began = time.monotonic()
        while process.poll() is None:
            if time.monotonic() - max(began, self._heard) > self._patience + self._setup.timing.begin:
                process.kill()
            time.sleep(self._setup.timing.scout)
