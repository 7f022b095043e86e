"""The SQLite file behind the job store: schema, transactions, and nothing about what jobs mean."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from editor.events import EditError

VERSION = 2

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they came
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    ready INTEGER NOT NULL DEFAULT 0,       -- 0 while the upload is normalised: holds a place, cannot run
    owner TEXT NOT NULL,                    -- SHA-256 of the owner's secret
    address TEXT NOT NULL,                  -- network address; emptied when the job ends
    request TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    runs INTEGER NOT NULL DEFAULT 0,        -- counts claims; together with `server` it fences off a run that was lost
    losses INTEGER NOT NULL DEFAULT 0,      -- runs that ended without a word
    server TEXT,
    slot TEXT,
    lease REAL,
    stop INTEGER NOT NULL DEFAULT 0,
    stage TEXT,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    seconds_left REAL,
    message TEXT NOT NULL DEFAULT '',
    preview INTEGER NOT NULL DEFAULT 0,
    results TEXT,
    error TEXT,
    visitor TEXT NOT NULL DEFAULT '',       -- hash of what counts as one visitor; emptied with the address
    turn REAL NOT NULL DEFAULT 0,           -- the queue's order, see `turns.next_turn`
    estimate REAL                           -- seconds it is expected to take
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, turn, seq);
CREATE INDEX IF NOT EXISTS jobs_owner ON jobs (owner, seq);
"""

UPGRADES = {
    1: (
        "ALTER TABLE jobs ADD COLUMN visitor TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN turn REAL NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN estimate REAL",
        "DROP INDEX IF EXISTS jobs_state",
    )
}
"""Format -> what makes the next one of it."""


class Database:
    """One connection, shared by the threads of this process behind a lock; other processes have their own."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._closed = False
        self._connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last moments, never the file; a crash of a process loses nothing.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self.transaction() as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, *UPGRADES, VERSION):
                raise EditError(
                    f"The job store {path} has format {found}, this program reads {VERSION}. "
                    "Start the version that wrote it, or set EDITOR_DATA to another folder."
                )
            for version in range(found, VERSION) if found else ():
                for statement in UPGRADES[version]:
                    db.execute(statement)
            for statement in SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and alone: no other thread or process writes meanwhile. Raises `EditError` when closed."""
        with self._lock:
            self._check_open()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:  # noqa: ANN401 - what SQLite takes
        """Rows of one query, as of one moment. Raises `EditError` when closed."""
        with self._lock:
            self._check_open()
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise EditError("The server is stopping. Please try again in a minute.")
