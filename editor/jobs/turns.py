"""The order of the queue: whose turn it is, when it is up, and when the queue is full."""

import heapq
import sqlite3
import time
from collections.abc import Sequence

from editor.events import EditError
from editor.settings import Settings

WAIT_GRAIN = 5.0
"""Seconds in which the time until a job starts is told: followers hear of every change."""


def next_turn(db: sqlite3.Connection, visitor: str) -> float:
    """Where a new job of `visitor` (a hash) stands in the queue, which is ordered by turn and then by arrival.

    Visitors take turns: a visitor's next job stands one round after the one before, a newcomer's at the end of the
    round that is being served. So nobody waits for more than one job of everybody else, and what waits is overtaken by
    a bounded number of newcomers only (after start-time fair queueing: Goyal, Vin and Cheng, 1996).
    """
    served = db.execute("SELECT max(turn) FROM jobs WHERE state != 'queued' AND runs > 0").fetchone()[0]
    own = db.execute(
        "SELECT max(turn) FROM jobs WHERE (visitor = ? OR owner = ?) AND (runs > 0 OR state = 'queued')",
        (visitor, visitor),
    ).fetchone()[0]
    newcomer = 0.0 if served is None else served + 0.5
    return newcomer if own is None else max(newcomer, own + 1.0)


def expected_wait(running: Sequence[sqlite3.Row], ahead: Sequence[float | None], devices: int) -> float | None:
    """Seconds until a device is free for whoever waits behind `ahead`; None where one of the times is unknown."""
    now = time.time()
    left = [job["seconds_left"] for job in running]
    guess = [None if job["estimate"] is None else max(0.0, job["estimate"] - now + job["started"]) for job in running]
    busy = [other if seconds is None else seconds for seconds, other in zip(left, guess, strict=True)]
    if devices < 1 or None in busy or None in ahead:
        return None
    free = [0.0] * (devices - len(busy)) + busy
    heapq.heapify(free)
    for seconds in ahead:
        heapq.heapreplace(free, free[0] + seconds)
    return WAIT_GRAIN * round(free[0] / WAIT_GRAIN)


def refuse_when_full(db: sqlite3.Connection, visitor: str, address: str, settings: Settings) -> None:
    """Raise `EditError` when this visitor, this address or everybody together already waits for enough."""

    def count(condition: str, *values: str) -> int:
        return db.execute(f"SELECT count(*) FROM jobs WHERE {condition}", values).fetchone()[0]

    mine = count("state IN ('queued', 'running') AND visitor = ?", visitor)
    if mine >= settings.jobs_per_visitor:
        raise EditError(
            f"You already have {mine} edits waiting or running; the limit is {settings.jobs_per_visitor}. Wait until "
            "one has finished, or stop one, then add the next."
        )
    active = count("state IN ('queued', 'running') AND address = ?", address) if address else 0
    if active >= settings.jobs_per_address:
        raise EditError(
            f"{active} edits from your network are already waiting or running; the limit is "
            f"{settings.jobs_per_address}. Please try again when one has finished."
        )
    queued = count("state = 'queued'")
    if queued >= settings.queue_size:
        raise EditError(f"The queue is full: {queued} edits are waiting. Please try again in a few minutes.")
