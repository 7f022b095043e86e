"""Inversions kept on disk by content, so that a second edit of a clip starts at once.

One safetensors file per entry, named by a SHA-256 over everything that the result depends on. Files appear whole
(written under another name, then moved), so several processes can share the folder; the least recently used are
deleted first when the byte budget is exceeded.
"""

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from editor.events import EditError
from editor.media.files import replacing

log = logging.getLogger(__name__)

FORMAT = 2  # counted up when the meaning of an entry changes, so that older files are never read
VALUES = "values"  # the tensor that holds the JSON values, as bytes
STALE_SECONDS = 3600.0  # a half-written file this old belongs to a process that died


@dataclass(frozen=True)
class Entry:
    """What was stored: named tensors on the CPU, and plain JSON values."""

    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


def content_key(**parts: Any) -> str:  # noqa: ANN401 - plain JSON values
    """SHA-256 over named plain values; the order of the names does not matter."""
    text = json.dumps({"format": FORMAT, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class InversionCache:
    """A folder of entries of at most `budget` bytes. It is a convenience: no failure of the disk ever stops an edit."""

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget

    def get(self, key: str) -> Entry | None:
        """The entry under `key`, marked as just used, or None. A damaged file is removed and counts as absent."""
        path = self._path(key)
        try:
            # in one read: a file that is opened twice may be another process's the second time
            tensors = load(path.read_bytes())
            values = json.loads(tensors.pop(VALUES).numpy().tobytes())
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            log.warning("A damaged cache entry was removed (%s): %s", path.name, error)
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # another process may have removed it meanwhile
            os.utime(path)
        return Entry(tensors, values)

    def put(self, key: str, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> str | None:
        """Store an entry. Returns None, or a sentence saying why it was not stored."""
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        if size > self.budget:
            return f"the inversion ({size / 1e6:.0f} MB) is not kept: the cache may hold {self.budget / 1e6:.0f} MB"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            whole[VALUES] = torch.frombuffer(bytearray(json.dumps(values).encode()), dtype=torch.uint8)
            with replacing(self._path(key)) as partial:
                save_file(whole, partial)
            self._make_room(0)  # another process may have written meanwhile
        except (OSError, EditError, SafetensorError) as error:  # a full disk reaches us as any of them
            return f"the inversion could not be kept in the cache: {error}"
        return None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of whole entries, oldest first; what another process removes is left out."""
        found = []
        for path in self.folder.glob("[!.]*.safetensors"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            found.append((state.st_mtime, state.st_size, path))
        return sorted(found)

    def _make_room(self, size: int) -> None:
        """Remove the least recently used entries until `size` more bytes fit, and what dead processes left behind."""
        entries = self._entries()
        used = sum(entry[1] for entry in entries)
        for _, entry_bytes, path in entries:
            if used + size <= self.budget:
                break
            path.unlink(missing_ok=True)
            used -= entry_bytes
        for path in self.folder.glob(".*.safetensors"):
            try:
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue
