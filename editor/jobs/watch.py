"""The eye on one running job: renews its lease, stores its progress, and decides when it has to stop."""

import logging
import sqlite3
import threading
import time
from enum import Enum
from typing import Self

from editor.events import EditError, Progress
from editor.jobs.claims import Claim, Claims
from editor.jobs.executor import PreviewSaved

log = logging.getLogger(__name__)


class Reason(Enum):
    """Why a running job was asked to stop."""

    CANCEL = "its owner asked"
    LIMIT = "it exceeded the time limit"
    LOST = "another server took it over"
    SHUTDOWN = "this server is shutting down"


class Watch:
    """A context manager around one run. Progress is stored at every tick, not at every event."""

    def __init__(self, claims: Claims, claim: Claim, tick: float, limit: float) -> None:
        self.claim = claim
        self.stop = threading.Event()
        self.reason: Reason | None = None
        self._claims = claims
        self._tick = tick
        self._deadline = time.monotonic() + limit
        self._news = threading.Lock()
        self._progress: Progress | None = None
        self._previews = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._store()  # the last events, so that the version of the last preview is told

    def report(self, event: Progress | PreviewSaved) -> None:
        """Take an event of the run, from any thread."""
        with self._news:
            if isinstance(event, Progress):
                self._progress = event
            else:
                self._previews += 1

    def interrupt(self, reason: Reason) -> None:
        """Ask the run to stop. The first reason counts."""
        if self.reason is None:
            self.reason = reason
            log.info("stopping job %s: %s", self.claim.job_id, reason.value)
        self.stop.set()

    def _look(self) -> None:
        while not self._over.wait(self._tick):
            self._store()
            if time.monotonic() > self._deadline:
                self.interrupt(Reason.LIMIT)

    def _store(self) -> None:
        with self._news:
            progress, previews = self._progress, self._previews
            self._progress, self._previews = None, 0
        try:
            stop = self._claims.tick(self.claim, progress, previews)
        except (sqlite3.Error, EditError):  # a full disk, or a store that is closed: the next tick may succeed
            log.exception("could not store the progress of job %s", self.claim.job_id)
            return
        if stop is None:
            self.interrupt(Reason.LOST)
        elif stop:
            self.interrupt(Reason.CANCEL)
