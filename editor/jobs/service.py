"""The job service: the one door between the page (or any other client) and the work.

Everything here may be called from any thread. Refusals are `EditError` with a text for people, raised at once.
"""

import asyncio
import logging
import os
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Self

from editor.events import EditError, EditResult
from editor.jobs import files
from editor.jobs.claims import Claims
from editor.jobs.cluster import RayExecutor
from editor.jobs.executor import Executor, Pulse
from editor.jobs.intake import Intake, as_allowed, check_disk, check_owner, check_request
from editor.jobs.janitor import Janitor
from editor.jobs.lent import LentExecutor
from editor.jobs.process import ProcessExecutor
from editor.jobs.runner import Runner
from editor.jobs.store import Store
from editor.jobs.timing import Timing
from editor.jobs.view import Health, JobState, JobView, WorkerHealth
from editor.request import EditRequest
from editor.settings import Settings

log = logging.getLogger(__name__)

ENGINE = "editor.jobs.engine:run"

Admit = Callable[[EditRequest, int], float | None]


def new_secret() -> str:
    """A fresh owner's secret. The visitor's browser keeps it; the store keeps only its hash."""
    return secrets.token_urlsafe(32)


class JobService:
    """Accepts, runs, shows and forgets jobs.

    `engine` names a function `run(job_dir: Path, request: EditRequest, settings: Settings, emit: Emit) ->
    tuple[EditResult, ...]` as "module:function"; it reads `job_dir/clip.mp4` and writes its results inside `job_dir`.
    It is imported where it runs (the worker process), never here.
    """

    def __init__(
        self,
        settings: Settings,
        engine: str = ENGINE,
        executor: Executor | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.admit: Admit = lambda request, frames: None
        """Called with every request and its number of frames before it may wait; raises `EditError` to refuse it, or
        returns the seconds that it is expected to take, None if unknown."""
        self.settings = settings
        self.timing = timing or Timing()
        files.prepare(settings.data)
        self.executor = executor or _executor(engine, settings, self.timing)
        self.store = Store(settings.data, devices=lambda: len(self.executor.slots))
        self.intake = Intake(settings)
        self.runner = Runner(Claims(self.store, self.timing.lease), self.executor, settings, self.timing)
        self.janitor = Janitor(self.store, settings, self.timing)
        self._stopping = threading.Event()

    def start(self) -> Self:
        """Begin to work on waiting jobs (also those of an earlier process) and to clean up. Returns self."""
        self.runner.start()
        self.janitor.start()
        return self

    def stop(self) -> None:
        """Take no new jobs, hand running ones back to the queue, end the workers. Returns within 10 seconds."""
        self._stopping.set()
        self.runner.stop()
        self.janitor.stop()
        self.store.close()

    def submit(self, clip: Path, request: EditRequest, owner: str, address: str = "", visitor: str = "") -> JobView:
        """Check everything, normalise `clip` (at most half a minute) and put the edit in the queue.

        `owner` is the visitor's secret (`new_secret`), `address` the visitor's network address. The raw upload is
        only read; the job keeps its normalised copy. `visitor` says who is counted and takes turns where that is not
        the owner: a program takes a new secret for every job. Raises `EditError`: unusable request or clip, full
        queue, too many jobs of this visitor or address, full disk, server shutting down.
        """
        return self._submit(request, owner, address, partial(self.intake.normalise, clip), visitor)

    def submit_normalised(self, clip: Path, request: EditRequest, owner: str, address: str = "") -> JobView:
        """As `submit`, for a file that `editor.media.normalise` wrote: it is taken as it is. Never pass an upload."""
        return self._submit(request, owner, address, partial(self.intake.reuse, clip))

    def submit_again(self, job_id: str, request: EditRequest, owner: str, address: str = "") -> JobView:
        """A new job on the clip of job `job_id`, which any viewer may reuse; equal bytes let it reuse the inversion.

        Raises `EditError` as `submit` does, and `UnknownJob`.
        """
        self.view(job_id)
        other = files.clip(self.settings.data, job_id)
        return self._submit(request, owner, address, partial(self.intake.reuse, other))

    def _submit(
        self,
        request: EditRequest,
        owner: str,
        address: str,
        bring: Callable[[Path, EditRequest], int],
        visitor: str = "",
    ) -> JobView:
        """Hold a place in the queue while `bring` puts the clip where it is told to and counts the frames to edit."""
        if self._stopping.is_set():
            raise EditError("The server is restarting. Please try again in a minute.")
        check_owner(owner)
        request = as_allowed(request, self.settings)
        check_request(request, self.settings)
        check_disk(self.settings)
        job_id = self.store.reserve(request, owner, address, self.settings, visitor)
        try:
            seconds = self.admit(request, bring(files.clip(self.settings.data, job_id), request))
            self.store.ready(job_id, seconds)
        except BaseException:
            self.store.discard(job_id)
            files.remove_job(self.settings.data, job_id)
            raise
        self.runner.wake()
        return self.view(job_id, owner)

    def view(self, job_id: str, owner: str | None = None) -> JobView:
        """The job as it is now. Raises `UnknownJob`."""
        return self.store.view(job_id, owner)

    def compute(self, job_id: str) -> None:
        """Compute a waiting job in this thread when it is its turn, and return when it does not wait any more.

        Only where the executor's device is lent to the calling event; elsewhere it returns at once. Raises
        `UnknownJob`.
        """
        if self.executor.lent:
            self.runner.run_in_turn(self.executor.slots[0], job_id, lambda: self.view(job_id).state is JobState.QUEUED)

    async def follow(self, job_id: str, owner: str | None = None) -> AsyncIterator[JobView]:
        """Yield the job at once, then after every change, up to and including its final state. Raises `UnknownJob`.

        Closing the iterator only stops looking; it never touches the job. The store is asked rather than the runner
        told: the job may run in another server process. A thread asks, so the event loop never waits for the disk.
        """
        last: JobView | None = None
        while last is None or not last.state.final:
            now = await asyncio.to_thread(self.view, job_id, owner)
            if now != last:
                yield now
            last = now
            if not now.state.final:
                await asyncio.sleep(self.timing.follow)

    def result(self, job_id: str) -> tuple[EditResult, ...]:
        """The finished files. Raises `EditError` while there are none, with the reason, and `UnknownJob`."""
        job = self.view(job_id)
        if job.error:
            raise EditError(job.error)
        if not job.results:
            raise EditError(f"This edit has no result: it is {job.state}.")
        return job.results

    def cancel(self, job_id: str, owner: str) -> JobView:
        """Stop a waiting job at once and a running one within a step. Raises `EditError` for anyone but the owner."""
        self.store.cancel(job_id, owner)
        return self.view(job_id, owner)

    def delete(self, job_id: str, owner: str) -> None:
        """Remove a job and its files. Raises `EditError` for anyone but the owner, and while the job runs."""
        self.store.delete(job_id, owner)
        files.remove_job(self.settings.data, job_id)

    def history(self, owner: str, limit: int = 50) -> tuple[JobView, ...]:
        """The owner's jobs, newest first."""
        return self.store.history(owner, limit)

    def health(self) -> Health:
        """The server's health, from the worker's heartbeat, the queue and the disk."""
        queued, running = self.store.counts()
        workers = tuple(self._worker_health(pulse) for pulse in self.executor.pulses())
        states = {worker.state for worker in workers}
        free = files.free_mb(self.settings.data)
        away = "absent" if self.runner.alive() and not workers else "stopped"
        return Health(
            ok=bool(states & {"idle", "busy"}) or away == "absent",
            worker=next((state for state in ("busy", "idle", "silent") if state in states), away),
            workers=workers,
            queued=queued,
            running=running,
            free_disk_mb=free,
            accepting=not self._stopping.is_set() and free >= self.settings.disk_floor_mb,
        )

    def _worker_health(self, pulse: Pulse) -> WorkerHealth:
        silent = pulse.age is not None and pulse.age > self.timing.silence
        working = "busy" if self.runner.busy(pulse.slot) else "idle"
        state = "stopped" if not self.runner.alive() else "silent" if silent else working
        return WorkerHealth(pulse.slot, state, pulse.age)


def _executor(engine: str, settings: Settings, timing: Timing) -> Executor:
    """What `EDITOR_EXECUTOR` names."""
    kinds = {"process": ProcessExecutor, "ray": RayExecutor, "zerogpu": LentExecutor}
    return kinds[settings.executor](engine, settings, timing)


def stop_on_sigterm(service: JobService) -> None:
    """On SIGTERM stop `service` and end the process within 10 seconds. Call it in the main thread.

    Stopping happens in a thread of its own: a signal handler may interrupt the main thread while that holds a lock
    which stopping needs. The process then ends at once, because web servers wait for open connections much longer.
    """

    def leave() -> None:
        try:
            service.stop()
        finally:
            logging.shutdown()
            os._exit(0)

    def handle(number: int, frame: FrameType | None) -> None:
        log.info("SIGTERM: returning the running job to the queue")
        last_resort = threading.Timer(9.5, os._exit, args=(1,))
        last_resort.daemon = True
        last_resort.start()
        threading.Thread(target=leave, daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
