"""The executor that owns a worker process: started at the first job, kept warm, killed and replaced when it must be."""

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time

from editor.jobs.executor import Ending, Outcome, Report, Task
from editor.jobs.timing import Timing
from editor.jobs.wire import Beat, Message, Run, Setup, Stop, decode, encode
from editor.settings import Settings

log = logging.getLogger(__name__)

_LOOK = 0.1
"""Seconds between two looks at the stop signal while the worker is quiet."""


class ProcessExecutor:
    """Runs tasks in one spawned Python process, which owns the device."""

    slots = ("device",)

    def __init__(self, engine: str, settings: Settings, timing: Timing) -> None:
        self._setup = Setup(engine, settings, timing.beat, timing.preview)
        self._timing = timing
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._closed = False

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Compute `task` in the worker. One that does not stop within the grace time, or falls silent, is killed."""
        worker = self._living()
        if worker is None:
            return Outcome(Ending.LOST, message="the executor has been closed")
        worker.send(Run(slot, task))
        asked: float | None = None
        while True:
            try:
                message = worker.receive(_LOOK)
            except EOFError:
                return Outcome(Ending.LOST, message=f"the worker ended with exit code {worker.kill()}")
            if isinstance(message, Outcome):
                return message
            if message is not None:
                report(message)
            if stop.is_set() and asked is None:
                worker.send(Stop())
                asked = time.monotonic()
            if asked is not None and time.monotonic() - asked > self._timing.grace:
                worker.kill()
                return Outcome(Ending.STOPPED)
            if worker.silent_for() > self._timing.silence:
                worker.kill()
                return Outcome(Ending.LOST, message=f"the worker was silent for {self._timing.silence:g} s")

    def heartbeat_age(self) -> float | None:
        """Seconds since the worker was heard; None when none is running."""
        worker = self._worker
        return None if worker is None or worker.gone.is_set() else worker.silent_for()

    def close(self) -> None:
        """Kill the worker; no other is started."""
        with self._lock:
            self._closed = True
            if self._worker is not None:
                self._worker.kill()

    def _living(self) -> "Worker | None":
        """The worker, a new one if the last has ended; None when closed."""
        with self._lock:
            if self._closed:
                return None
            if self._worker is not None and self._worker.gone.is_set():
                self._worker.kill()
                self._worker = None
            if self._worker is None:
                self._worker = Worker(self._setup)
            return self._worker


class Worker:
    """One worker process as the server sees it."""

    def __init__(self, setup: Setup) -> None:
        self.gone = threading.Event()
        """Set when its pipe is closed; what it said before can still be received."""
        self._heard = time.monotonic()
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._killing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "editor.jobs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)},
            start_new_session=True,  # Ctrl-C in a terminal is for the server; and kill() reaches the worker's children
        )
        log.debug("started worker process %d", self._process.pid)
        threading.Thread(target=self._read, daemon=True).start()
        self.send(setup)

    def send(self, message: Message) -> None:
        """Say something to the worker; one that is already dead does not hear it."""
        try:
            self._process.stdin.write(encode(message))
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: closed on our side by kill()
            log.info("worker process %d did not accept %s", self._process.pid, type(message).__name__)

    def receive(self, seconds: float) -> Message | None:
        """The next thing it said, None when it says nothing for `seconds`. Raises `EOFError` when it is gone."""
        try:
            message = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return None
        if message is None:
            raise EOFError
        return message

    def silent_for(self) -> float:
        """Seconds since it was last heard (or started)."""
        return time.monotonic() - self._heard

    def kill(self) -> int:
        """End it and whatever it started, and wait until it is gone. Returns its exit code."""
        with self._killing:
            if self._process.returncode is None:  # not yet reaped, so its number still names its process group
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    _kill_group(self._process)
            self.gone.set()
            return self._process.wait()

    def _read(self) -> None:
        """Thread: hand on what the worker says until it closes the pipe."""
        for line in self._process.stdout:
            self._heard = time.monotonic()
            try:
                message = decode(line)
            except (ValueError, KeyError, TypeError):
                log.exception("worker process %d sent an unreadable message", self._process.pid)
                continue
            if not isinstance(message, Beat):
                self._inbox.put(message)
        self.gone.set()
        self._inbox.put(None)


def _kill_group(process: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
