"""Takes waiting jobs to the executor, one per slot, and records how they ended."""

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editor.events import EditError, EditResult
from editor.jobs import files
from editor.jobs.claims import Claim, Claims
from editor.jobs.executor import Ending, Executor, Outcome, Task
from editor.jobs.timing import Timing
from editor.jobs.watch import Reason, Watch
from editor.request import EditRequest
from editor.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How one run ended: `done`, `failed`, `cancelled`, `lost` (run again once) or `returned` to the queue."""

    how: str
    device: str
    seconds: float
    results: tuple[EditResult, ...] = ()


class Runner:
    """One thread per slot of the executor, also of those that come later; a slot that went has none. `run_next` does
    the same in the caller's thread."""

    def __init__(self, claims: Claims, executor: Executor, settings: Settings, timing: Timing) -> None:
        self.claims = claims
        self.executor = executor
        self.settings = settings
        self.timing = timing
        self.listeners: list[Callable[[Ended], None]] = []
        """Called with the end of every run, in the runner's thread."""
        self._leaving = threading.Event()
        self._wake = threading.Event()
        self._watches: dict[str, Watch] = {}
        self._attended: set[str] = set()
        self._loaded: dict[str, str] = {}
        """Slot -> the model of its last job, as `_model` names it."""
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._keeper.start()

    def wake(self) -> None:
        """A job may be waiting: look now."""
        self._wake.set()

    def stop(self) -> None:
        """Take no more jobs, hand running ones back, end the executor."""
        self._leaving.set()
        self.wake()
        for watch in list(self._watches.values()):
            watch.interrupt(Reason.SHUTDOWN)
        self.executor.close()
        deadline = time.monotonic() + self.timing.shutdown
        while self._watches and time.monotonic() < deadline:
            time.sleep(0.02)
        for watch in list(self._watches.values()):  # an engine that computes inline and did not stop in time
            self.claims.hand_back(watch.claim)

    def alive(self) -> bool:
        """Whether jobs are being taken."""
        return not self._leaving.is_set() and self._keeper.is_alive()

    def busy(self, slot: str) -> bool:
        """Whether this server runs a job on `slot` now."""
        return slot in self._watches

    def run_next(self, slot: str) -> bool:
        """Run the first waiting job on `slot`, to its end. False when there is none or the slot is taken."""
        return self._run(slot, self.claims.take(slot, lambda _, request: self._warmer_elsewhere(slot, request)))

    def run_in_turn(self, slot: str, job_id: str, waits: Callable[[], bool]) -> None:
        """Run one job in the caller's thread when it is next among those that callers wait for; `waits` says whether it
        still waits. Others, whose visitors have left, hold nobody up."""
        self._attended.add(job_id)
        try:
            while waits() and not self._leaving.is_set():
                claim = self.claims.take(slot, lambda first, _: first != job_id, self._attended)
                if not self._run(slot, claim):
                    self._leaving.wait(self.timing.poll)
        finally:
            self._attended.discard(job_id)

    def _run(self, slot: str, claim: Claim | None) -> bool:
        """Run a claimed job to its end. False where there is none."""
        if claim is None:
            return False
        watch = Watch(self.claims, claim, self.timing.tick, self.settings.job_seconds)
        self._watches[slot] = watch
        try:
            if self._leaving.is_set():  # stop() may have looked before the line above
                watch.interrupt(Reason.SHUTDOWN)
            self._attend(slot, claim, watch)
        finally:
            del self._watches[slot]
        return True

    def _warmer_elsewhere(self, slot: str, request: dict[str, Any]) -> bool:
        """Whether another device, which waits as well, has the request's model loaded and this one has not."""
        key = _model(request)
        idle = [other for other in self.executor.slots if other not in self._watches]
        return self._loaded.get(slot) != key and any(self._loaded.get(other) == key for other in idle)

    def _keep(self) -> None:
        """Thread: see that every slot is served."""
        serving: dict[str, threading.Thread] = {}
        while not self._leaving.is_set():
            for slot in () if self.executor.lent else self.executor.slots:
                if slot not in serving or not serving[slot].is_alive():
                    serving[slot] = threading.Thread(target=self._serve, args=(slot,), daemon=True)
                    serving[slot].start()
            self._leaving.wait(self.timing.poll)

    def _serve(self, slot: str) -> None:
        """Thread: work until told to leave, or until the slot is gone. No failure of one job may end it."""
        while not self._leaving.is_set() and slot in self.executor.slots:
            try:
                worked = self.run_next(slot)
            except Exception:
                if not self._leaving.is_set():  # the store closes while a slot looks for work
                    log.exception("the runner of %s failed; continuing", slot)
                worked = False
            if not worked:
                self._wake.wait(self.timing.poll)
                self._wake.clear()

    def _attend(self, slot: str, claim: Claim, watch: Watch) -> None:
        """Run one claimed job and write down how it ended. Its folder is kept only with published results."""
        data = self.settings.data
        folder = files.run_folder(data, claim.job_id, claim.run)
        how, began = "failed", time.monotonic()
        try:
            with watch:
                outcome = self._execute(slot, claim, watch)
            how = self._settle(claim, outcome, watch.reason)
            self._loaded[slot] = "" if how in ("lost", "returned") else _model(claim.request)
            self._tell(Ended(how, slot, time.monotonic() - began, outcome.results))
        finally:
            files.close_run(folder, keep=how == "done")

    def _tell(self, ended: Ended) -> None:
        for listener in self.listeners:
            try:
                listener(ended)
            except Exception:
                log.exception("the end of a run could not be counted")

    def _execute(self, slot: str, claim: Claim, watch: Watch) -> Outcome:
        try:
            request = EditRequest.from_dict(claim.request)
            folder = files.open_run(self.settings.data, claim.job_id, claim.run)
            task = Task(folder, files.preview(self.settings.data, claim.job_id), request, claim.estimate)
            outcome = self.executor.run(slot, task, watch.report, watch.stop)
        except EditError as error:  # a request stored by another version of this program
            return Outcome(Ending.FAILED, message=str(error))
        if outcome.ending is Ending.DONE and not _complete(outcome.results, folder):
            log.error("job %s: the engine returned results that are missing or outside %s", claim.job_id, folder)
            return Outcome(
                Ending.FAILED, message="The edit ended without a complete result. The server's log has details."
            )
        return outcome

    def _settle(self, claim: Claim, outcome: Outcome, reason: Reason | None) -> str:
        """Write the end of a run to the store. Returns `Ended.how`; what was another server's by then is `lost`."""
        if outcome.ending is Ending.DONE:
            folder = files.job_folder(self.settings.data, claim.job_id)
            return "done" if self.claims.finish(claim, outcome.results, folder) else "lost"
        if reason is Reason.CANCEL:
            self.claims.cancelled(claim)
            return "cancelled"
        if reason is Reason.SHUTDOWN or (outcome.ending is Ending.ABSENT and reason is None):
            self.claims.hand_back(claim)
            return "returned"
        if reason is Reason.LIMIT or outcome.ending is Ending.FAILED:
            over = reason is Reason.LIMIT
            self.claims.fail(claim, _overran(self.settings.job_seconds) if over else outcome.message)
            return "failed"
        log.warning("job %s, run %d: %s", claim.job_id, claim.run, outcome.message)
        self.claims.lose(claim)
        return "lost"


def _model(request: dict[str, Any]) -> str:
    """All that is loaded for a request, as one text."""
    return json.dumps([request.get(name) for name in ("model", "vae", "loras")], sort_keys=True)


def _complete(results: tuple[EditResult, ...], folder: Path) -> bool:
    """Whether every file of every result exists inside `folder` and has content."""

    def good(path: Path) -> bool:
        return path.resolve().is_relative_to(folder.resolve()) and path.is_file() and path.stat().st_size > 0

    paths = [path for result in results for path in result.files.values()]
    return bool(paths) and all(good(path) for path in paths)


def _overran(seconds: int) -> str:
    limit = f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds} seconds"
    return (
        f"The edit took longer than {limit}, the limit of this server. Try fewer frames, fewer steps or a smaller size."
    )
