"""The truth about all jobs: who may do what, and which state follows which.

Several server processes may share one store. The half that visitors reach is here, the half that works on jobs
is `editor/jobs/claims.py`.
"""

import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from editor.events import EditError, EditResult, Stage
from editor.jobs import files
from editor.jobs.database import Database
from editor.jobs.turns import expected_wait, next_turn, refuse_when_full
from editor.jobs.view import JobState, JobView, UnknownJob
from editor.request import EditRequest
from editor.settings import Settings


class Store:
    """What visitors can do: ask for a place, look, cancel, delete."""

    def __init__(self, data: Path, devices: Callable[[], int] = lambda: 1) -> None:
        self.data = data
        self.devices = devices
        """How many devices compute now."""
        self.database = Database(data / "jobs.sqlite")

    def close(self) -> None:
        """Release the file."""
        self.database.close()

    def reserve(self, request: EditRequest, owner: str, address: str, settings: Settings, visitor: str = "") -> str:
        """A place in the queue for a job that cannot run before `ready`; returns its id. `EditError` when full.

        `visitor` says who is counted and takes turns, if it is not the owner.
        """
        job_id = secrets.token_hex(16)
        hashed, counted = hash_secret(owner), hash_secret(visitor or owner)
        stored = json.dumps(request.to_dict())
        with self.database.transaction() as db:
            refuse_when_full(db, counted, address, settings)
            db.execute(
                "INSERT INTO jobs (id, state, owner, visitor, address, request, created, turn)"
                " VALUES (?, 'queued', ?, ?, ?, ?, ?, ?)",
                (job_id, hashed, counted, address, stored, time.time(), next_turn(db, counted)),
            )
        return job_id

    def ready(self, job_id: str, seconds: float | None = None) -> None:
        """The clip is in place: the job may run. `seconds`: how long that is expected to take."""
        with self.database.transaction() as db:
            db.execute("UPDATE jobs SET ready = 1, estimate = ? WHERE id = ?", (seconds, job_id))

    def discard(self, job_id: str) -> None:
        """Give up a reserved place."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ? AND ready = 0", (job_id,))

    def view(self, job_id: str, owner: str | None = None) -> JobView:
        """The job now. Raises `UnknownJob`."""
        return self._view(self._row(job_id), owner)

    def history(self, owner: str, limit: int) -> tuple[JobView, ...]:
        """The owner's jobs, newest first."""
        rows = self.database.read(
            "SELECT * FROM jobs WHERE owner = ? AND ready = 1 ORDER BY seq DESC LIMIT ?", hash_secret(owner), limit
        )
        return tuple(self._view(row, owner) for row in rows)

    def counts(self) -> tuple[int, int]:
        """Numbers of waiting and of running jobs."""
        rows = self.database.read("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        found = {row["state"]: row["n"] for row in rows}
        return found.get("queued", 0), found.get("running", 0)

    def cancel(self, job_id: str, owner: str) -> None:
        """End a waiting job, ask a running one to stop; a finished one stays. Raises `EditError`, `UnknownJob`."""
        _check_owner(self._row(job_id), owner, "stop")
        self.stop(job_id)

    def stop(self, job_id: str) -> None:
        """As `cancel`, for whoever runs the installation."""
        self._row(job_id)
        with self.database.transaction() as db:
            db.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ?, address = '', visitor = ''"
                " WHERE id = ? AND state = 'queued'",
                (time.time(), job_id),
            )
            db.execute("UPDATE jobs SET stop = 1 WHERE id = ? AND state = 'running'", (job_id,))

    def delete(self, job_id: str, owner: str) -> None:
        """Forget a job that does not run. Raises `EditError`, `UnknownJob`."""
        _check_owner(self._row(job_id), owner, "delete")
        with self.database.transaction() as db:
            if not db.execute("DELETE FROM jobs WHERE id = ? AND state != 'running'", (job_id,)).rowcount:
                raise EditError("This edit is still running. Stop it first, then delete it.")

    def retry(self, job_id: str) -> None:
        """Put a failed or cancelled job back at the end of the queue, as if it were new. Raises `EditError`."""
        state, owner = (self._row(job_id)[name] for name in ("state", "owner"))
        if state not in ("failed", "cancelled"):
            raise EditError(f"The job {job_id} is {state}. Only failed and cancelled jobs can be run again.")
        if not files.clip(self.data, job_id).is_file():
            raise EditError(f"The clip of job {job_id} is gone, so it cannot be run again.")
        with self.database.transaction() as db:
            db.execute(
                "UPDATE jobs SET state = 'queued', visitor = owner, turn = ?, losses = 0, stop = 0, error = NULL,"
                " server = NULL, slot = NULL, lease = NULL, started = NULL, ended = NULL, stage = NULL, message = ''"
                " WHERE id = ? AND state = ?",
                (next_turn(db, owner), job_id, state),
            )

    def everything(self) -> tuple[JobView, ...]:
        """All jobs, newest first."""
        rows = self.database.read("SELECT * FROM jobs WHERE ready = 1 ORDER BY seq DESC")
        return tuple(self._view(row, None) for row in rows)

    def ended_before(self, moment: float) -> list[str]:
        """Ids of finished jobs that ended before `moment` (Unix seconds), oldest first."""
        rows = self.database.read("SELECT id FROM jobs WHERE ended < ? ORDER BY ended, seq", moment)
        return [row["id"] for row in rows]

    def forget(self, job_id: str) -> bool:
        """Drop a finished job. False when there is none of this id."""
        with self.database.transaction() as db:
            return bool(db.execute("DELETE FROM jobs WHERE id = ? AND ended IS NOT NULL", (job_id,)).rowcount)

    def forget_reservations(self, moment: float) -> None:
        """Drop places whose upload was not finished before `moment` (Unix seconds): the server that took it died."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM jobs WHERE ready = 0 AND created < ?", (moment,))

    def all_ids(self) -> set[str]:
        """Ids of all jobs, also of those that are still being taken in."""
        return {row["id"] for row in self.database.read("SELECT id FROM jobs")}

    def _row(self, job_id: str) -> sqlite3.Row:
        known = files.is_id(job_id)
        rows = self.database.read("SELECT * FROM jobs WHERE id = ? AND ready = 1", job_id) if known else []
        if not rows:
            raise UnknownJob("There is no such edit here. It may have been deleted by its owner, or have expired.")
        return rows[0]

    def _view(self, row: sqlite3.Row, owner: str | None) -> JobView:
        state = JobState(row["state"])
        folder = files.job_folder(self.data, row["id"])
        clip, preview = files.clip(self.data, row["id"]), files.preview(self.data, row["id"])
        return JobView(
            id=row["id"],
            state=state,
            request=json.loads(row["request"]),
            mine=owner is not None and _is_owner(row, owner),
            created=row["created"],
            started=row["started"],
            ended=row["ended"],
            stage=Stage(row["stage"]) if row["stage"] else None,
            done=row["done"],
            total=row["total"],
            seconds_left=row["seconds_left"],
            message=row["message"],
            device=row["slot"],
            devices=self.devices(),
            **(self._place(row) if state is JobState.QUEUED else {}),
            stopping=state is JobState.RUNNING and bool(row["stop"]),
            clip=clip if clip.is_file() else None,
            preview=preview if row["preview"] and preview.is_file() else None,
            preview_version=row["preview"],
            results=_results(folder, row["results"]) if state is JobState.DONE else (),
            error=row["error"],
        )

    def _place(self, row: sqlite3.Row) -> dict[str, Any]:
        """Its place among the waiting jobs, and the seconds until it starts if every device works as expected."""
        running = self.database.read("SELECT started, seconds_left, estimate FROM jobs WHERE state = 'running'")
        ahead = self.database.read(
            "SELECT estimate FROM jobs WHERE state = 'queued' AND ready = 1 AND (turn, seq) < (?, ?)"
            " ORDER BY turn, seq",
            *(row["turn"], row["seq"]),
        )
        return {
            "position": len(ahead) + 1,
            "wait": expected_wait(running, [job["estimate"] for job in ahead], self.devices()),
        }


def hash_secret(secret: str) -> str:
    """What the store keeps of a secret. Secrets are 256 random bits, so a plain hash cannot be searched.

    Anything that a browser may send instead of a secret has a hash too, which no job has.
    """
    return hashlib.sha256(str(secret).encode("utf-8", "surrogatepass")).hexdigest()


def _is_owner(row: sqlite3.Row, owner: str) -> bool:
    return hmac.compare_digest(row["owner"], hash_secret(owner))


def _check_owner(row: sqlite3.Row, owner: str, action: str) -> None:
    if not _is_owner(row, owner):
        raise EditError(f"Only the browser that started this edit can {action} it.")


def _results(folder: Path, stored: str) -> tuple[EditResult, ...]:
    """Read back what `claims.finish` stored, with absolute paths."""

    def place(item: dict[str, Any]) -> Path:
        # until 2026-11 every file was named by itself; all were in one folder
        return folder / item["folder"] if "folder" in item else (folder / item["manifest"]).parent

    return tuple(EditResult(item["target"], place(item), item["summary"]) for item in json.loads(stored))
