"""The working half of the store: who runs which job, proven by a lease.

A claim names job, server and run number. Every later word about the job is accepted only while that claim still
stands, so a server that slept through its lease cannot disturb the one that took over.
"""

import json
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editor.events import EditResult, Progress
from editor.jobs.store import Store

log = logging.getLogger(__name__)

RUN_AGAIN = "The edit was interrupted and is being run again."
WORKER_LOST = (
    "The edit was interrupted twice. The last time the program that computes it ended without a word, most likely "
    "because memory ran out. Try fewer frames, a smaller size or fewer targets."
)
SERVER_LOST = (
    "The edit was interrupted twice. The last time the server itself was stopped or restarted while it ran; nothing is "
    "wrong with the edit. Please run it again."
)


@dataclass(frozen=True)
class Claim:
    """The right to run one job once."""

    job_id: str
    server: str
    run: int
    request: dict[str, Any]
    """`EditRequest.to_dict()`, as it was stored: perhaps by an older version of this program."""
    estimate: float | None = None
    """Seconds that it is expected to take."""


Leave = Callable[[str, dict[str, Any]], bool]
"""leave(job id, request)"""


class Claims:
    """What one server process does with jobs."""

    def __init__(self, store: Store, lease: float) -> None:
        self.database = store.database
        self.lease = lease
        self.server = secrets.token_hex(8)

    def take(
        self, slot: str, leave: Leave = lambda job_id, request: False, among: Container[str] | None = None
    ) -> Claim | None:
        """The next waiting job, now running under this server; None when there is none or the slot is taken.

        A slot is one device. At most one job runs per slot, whichever server asks. `leave` is asked whether
        that job is better left to somebody else, for this time. `among`: no other jobs count.
        """
        now = time.time()
        with self.database.transaction() as db:
            _recover(db, now)
            if db.execute("SELECT 1 FROM jobs WHERE state = 'running' AND slot = ?", (slot,)).fetchone():
                return None
            waiting = db.execute(
                "SELECT id, runs, request, estimate FROM jobs WHERE state = 'queued' AND ready = 1 ORDER BY turn, seq"
            )
            row = next((row for row in waiting if among is None or row["id"] in among), None)
            if row is None or leave(row["id"], json.loads(row["request"])):
                return None
            db.execute(
                "UPDATE jobs SET state = 'running', server = ?, slot = ?, lease = ?, runs = runs + 1, started = ?,"
                " stop = 0, stage = NULL, done = 0, total = 0, seconds_left = NULL WHERE id = ?",
                (self.server, slot, now + self.lease, now, row["id"]),
            )
        return Claim(row["id"], self.server, row["runs"] + 1, json.loads(row["request"]), row["estimate"])

    def tick(self, claim: Claim, progress: Progress | None, previews: int) -> bool | None:
        """Renew the lease and store how far the job is. Returns whether to stop it; None when the claim is lost.

        `progress` None keeps what is stored; `previews` is how many previews were written since the last tick.
        """
        stage = progress and (progress.stage, progress.done, progress.total, progress.seconds_left, progress.message)
        news = ", stage = ?, done = ?, total = ?, seconds_left = ?, message = ?" if stage else ""
        with self.database.transaction() as db:
            row = db.execute(
                f"UPDATE jobs SET lease = ?, preview = preview + ?{news} WHERE {_STANDS} RETURNING stop",
                (time.time() + self.lease, previews, *(stage or ()), *_key(claim)),
            ).fetchone()
        return None if row is None else bool(row["stop"])

    def finish(self, claim: Claim, results: tuple[EditResult, ...], folder: Path) -> bool:
        """Publish the results, all at once. `folder` is the job's. False when the claim is lost."""
        stored = [
            {"target": r.target, "folder": r.folder.relative_to(folder).as_posix(), "summary": r.summary}
            for r in results
        ]
        return self._end(claim, "done", results=json.dumps(stored))

    def fail(self, claim: Claim, message: str) -> bool:
        """End the job with an explanation for a person. False when the claim is lost."""
        return self._end(claim, "failed", error=message)

    def cancelled(self, claim: Claim) -> bool:
        """The job stopped because its owner asked. False when the claim is lost."""
        return self._end(claim, "cancelled")

    def hand_back(self, claim: Claim) -> None:
        """This server leaves: the job waits again, at its old place, and nothing is held against it."""
        with self.database.transaction() as db:
            _requeue(db, _STANDS, _key(claim))

    def lose(self, claim: Claim) -> None:
        """The worker ended without a word: once the job is run again, then it fails."""
        with self.database.transaction() as db:
            _requeue(db, _STANDS, _key(claim), lost=WORKER_LOST)

    def _end(self, claim: Claim, state: str, results: str | None = None, error: str | None = None) -> bool:
        with self.database.transaction() as db:
            changed = db.execute(
                "UPDATE jobs SET state = ?, ended = ?, results = ?, error = ?, address = '', visitor = '',"
                f" message = '', seconds_left = NULL WHERE {_STANDS}",
                (state, time.time(), results, error, *_key(claim)),
            ).rowcount
        return bool(changed)


_STANDS = "id = ? AND server = ? AND runs = ? AND state = 'running'"


def _key(claim: Claim) -> tuple[str, str, int]:
    return claim.job_id, claim.server, claim.run


def _recover(db: sqlite3.Connection, now: float) -> None:
    """Jobs whose server was not heard of within its lease wait again, once."""
    _requeue(db, "state = 'running' AND lease < ?", (now,), lost=SERVER_LOST)


def _requeue(db: sqlite3.Connection, which: str, values: tuple, lost: str | None = None) -> None:
    """Running jobs become waiting ones; cancelled when a stop was asked for, failed when lost for the second time.

    `lost` says how they were lost this time; without it nothing is held against them.
    """
    ended = f"ended = {time.time()!r}, address = '', visitor = '', message = '', seconds_left = NULL"
    db.execute(f"UPDATE jobs SET state = 'cancelled', {ended} WHERE ({which}) AND stop = 1", values)
    if lost:
        db.execute(
            f"UPDATE jobs SET state = 'failed', error = ?, {ended} WHERE ({which}) AND losses >= 1",
            (lost, *values),
        )
    db.execute(
        "UPDATE jobs SET state = 'queued', server = NULL, slot = NULL, lease = NULL, started = NULL, stage = NULL,"
        f" done = 0, total = 0, seconds_left = NULL, message = ?, losses = losses + ? WHERE {which}",
        (RUN_AGAIN, int(lost is not None), *values),
    )
