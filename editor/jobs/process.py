"""The executor that owns worker processes: started when needed, kept warm, killed and replaced when it must be."""

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from editor.jobs.devices import SINGLE, Device, devices
from editor.jobs.executor import Ending, Outcome, Pulse, Report, Task
from editor.jobs.timing import Timing
from editor.jobs.wire import Beat, Message, Run, Setup, Stop, Warm, decode, encode
from editor.settings import Settings

log = logging.getLogger(__name__)

_LOOK = 0.1
"""Seconds between two looks at the stop signal while the worker is quiet."""


class ProcessExecutor:
    """Runs tasks in spawned Python processes, one per device; each is started at the first job of its device, or by
    `warm`.

    One that dies or falls silent takes the job it was computing with it, and no other.
    """

    lent = False

    def __init__(self, engine: str, settings: Settings, timing: Timing) -> None:
        self._posts = {
            device.slot: Post(Setup(engine, _own(settings, device), timing), device.env) for device in devices(settings)
        }
        self._timing = timing

    @property
    def slots(self) -> tuple[str, ...]:
        """The devices, as `EDITOR_DEVICES` names them."""
        return tuple(self._posts)

    def warm(self) -> None:
        """Start every worker and let it load what its first task would wait for."""
        for post in self._posts.values():
            worker = post.living(self._timing.silence)
            if worker is not None:
                worker.send(Warm())

    def run(self, slot: str, task: Task, report: Report, stop: threading.Event) -> Outcome:
        """Compute `task` in the slot's worker. One that does not stop in time, or is silent, is killed."""
        worker = self._posts[slot].living(self._timing.silence)
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

    def pulses(self) -> tuple[Pulse, ...]:
        """How long ago each device's worker was heard."""
        return tuple(Pulse(slot, post.age()) for slot, post in self._posts.items())

    def close(self) -> None:
        """Kill the workers; no other is started."""
        for post in self._posts.values():
            post.close()


def _own(settings: Settings, device: Device) -> Settings:
    """The settings of one device's worker, which knows of no other."""
    return replace(settings, device=device.kind, devices=() if device.slot == SINGLE else (device.slot,))


class Post:
    """The place of one worker process, which is filled when there is work."""

    def __init__(self, setup: Setup, env: Mapping[str, str]) -> None:
        self.setup = setup
        self.worker: Worker | None = None
        self._env = env
        self._lock = threading.Lock()
        self._closed = False

    def living(self, silence: float) -> "Worker | None":
        """The worker; a new one if the last has ended or was silent for `silence` seconds. None when closed."""
        with self._lock:
            if self._closed:
                return None
            if self.worker is not None and (self.worker.gone.is_set() or self.worker.silent_for() > silence):
                self.worker.kill()
                self.worker = None
            if self.worker is None:
                self.worker = Worker(self.setup, self._env)
            return self.worker

    def age(self) -> float | None:
        """Seconds since the worker was heard; None when none is running."""
        worker = self.worker
        return None if worker is None or worker.gone.is_set() else worker.silent_for()

    def close(self) -> None:
        """Kill the worker; no other is started."""
        with self._lock:
            self._closed = True
            if self.worker is not None:
                self.worker.kill()


class Worker:
    """One worker process as the server sees it."""

    def __init__(self, setup: Setup, env: Mapping[str, str]) -> None:
        self.gone = threading.Event()
        """Set when its pipe is closed; what it said before can still be received."""
        self._heard = time.monotonic()
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._killing = threading.Lock()
        self._process = module_process("editor.jobs.worker", env)
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


def module_process(module: str, env: Mapping[str, str] | None = None) -> subprocess.Popen:
    """A fresh Python that runs a module of ours, with pipes to speak through."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path), **(env or {})},
        start_new_session=True,  # Ctrl-C in a terminal is for the server; and kill() reaches the worker's children
    )


def _kill_group(process: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
