"""Files that appear complete or not at all."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from editor.events import DISK_FULL, EditError, is_disk_full


def temporary_beside(path: Path) -> Path:
    """An unused name in the same folder, so on the same filesystem, with the same ending."""
    return path.with_name(f".{secrets.token_hex(8)}{path.suffix}")


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, and remove what is there at the end.

    A full disk becomes an `EditError`.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
    except OSError as error:
        if is_disk_full(error):
            raise EditError(DISK_FULL) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, which becomes `path` when the block ends well and goes when it does not."""
    with scratch(path) as temporary:
        yield temporary
        os.replace(temporary, path)


def put_in_place(pairs: Iterable[tuple[Path, Path]]) -> None:
    """Move finished files (from, to) on one filesystem, in this order; each `to` is replaced at once."""
    for finished, path in pairs:
        os.replace(finished, path)
