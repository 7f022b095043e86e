"""One job on the device at a time, whatever happens to the processes that asked for it."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from editor.events import Cancelled

_PATIENCE = 0.2
"""Seconds between two looks at `stopped` while another process holds the device."""


@contextmanager
def device_lock(path: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold the device named by the file `path`. Raises `Cancelled` when `stopped()` turns true while waiting.

    The lock is an open exclusive transaction of an empty SQLite file: the operating system frees it when the process
    dies, however it dies, and it works alike on Linux, macOS and Windows, between processes and between threads.
    """
    with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as held:
        while not _acquired(held):
            if stopped():
                raise Cancelled
            time.sleep(_PATIENCE)
        yield


def _acquired(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    return True
