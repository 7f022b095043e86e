"""Inversions on disk: a clip's noise levels while an edit runs, and kept by content, so that a second edit starts at
once.

One safetensors file per entry, named by a SHA-256 over everything that the result depends on. Files appear whole
(written under another name, then moved), so several processes can share the folder; the least recently used are
deleted first when the byte budget is exceeded.
"""

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from editor.events import EditError
from editor.media.files import replacing

log = logging.getLogger(__name__)

HEADER_BYTES = 10**6  # far more than a header needs
FORMAT = 3  # counted up when the meaning of an entry changes, so that older files are never read
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


class LevelFile:
    """Latents (N+1, F, C, h, w), float32, in a safetensors file, read and written one level at a time.

    They are `Levels` of a trajectory that comes to `device` by the level. `rebuilt` is kept with them, uint8. The file
    may be moved and, but for Windows, removed while it is in use.
    """

    def __init__(self, file: BinaryIO, device: torch.device) -> None:
        """Over an open `file`. Raises `ValueError` or `KeyError` where it is no such file or not whole."""
        self._file, self._device = file, device
        size = int.from_bytes(file.read(8), "little")
        if size > HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(file.read(size))
        self._shape = tuple(header["latents"]["shape"])
        self._first = 8 + size
        begin, end = header["rebuilt"]["data_offsets"]
        if header["latents"]["dtype"] != "F32" or begin != math.prod(self._shape) * 4:
            raise ValueError("the latents are of another kind")
        file.seek(self._first + begin)
        self.rebuilt = np.frombuffer(file.read(end - begin), np.uint8).reshape(header["rebuilt"]["shape"])

    @classmethod
    def create(cls, path: Path, levels: int, latents: torch.Tensor, rebuilt: np.ndarray) -> "LevelFile":
        """A new file for so many levels of latents such as these (F, C, h, w); they stay on their device when read."""
        shape = (levels, *latents.shape)
        size = math.prod(shape) * 4
        header = {
            "latents": {"dtype": "F32", "shape": shape, "data_offsets": (0, size)},
            "rebuilt": {"dtype": "U8", "shape": rebuilt.shape, "data_offsets": (size, size + rebuilt.nbytes)},
        }
        text = json.dumps(header).encode()
        file = path.open("w+b")
        try:
            file.write(len(text).to_bytes(8, "little") + text)
            file.seek(size, os.SEEK_CUR)
            file.write(np.ascontiguousarray(rebuilt).data)
            file.seek(0)
            return cls(file, latents.device)
        except BaseException:  # a full disk, or Stop
            file.close()
            raise

    @property
    def bytes(self) -> int:
        """How large the file is."""
        return self._first + math.prod(self._shape) * 4 + self.rebuilt.nbytes

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, level: int) -> torch.Tensor:
        """(F, C, h, w) of a level; negative ones count from the last."""
        held = bytearray(math.prod(self._shape[1:]) * 4)
        self._file.seek(self._place(level))
        if self._file.readinto(held) != len(held):
            raise OSError(errno.EIO, "the noise levels end early")
        return torch.frombuffer(held, dtype=torch.float32).view(self._shape[1:]).to(self._device)

    def __setitem__(self, level: int, latents: torch.Tensor) -> None:
        self._file.seek(self._place(level))
        self._file.write(latents.detach().float().cpu().contiguous().numpy().data)
        self._file.flush()  # a disk that is full says so here

    def _place(self, level: int) -> int:
        return self._first + range(len(self))[level] * math.prod(self._shape[1:]) * 4


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
            return self._too_large(size)
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

    def levels(self, key: str, device: torch.device) -> LevelFile | None:
        """The noise levels under `key`, marked as just used, or None. A damaged file is removed."""
        path = self._path(key)
        try:
            file = path.open("rb")
        except OSError:
            return None
        try:
            found = LevelFile(file, device)
            if os.fstat(file.fileno()).st_size != found.bytes:
                raise ValueError("the file is not whole")
        except (OSError, KeyError, ValueError, TypeError) as error:
            log.warning("A damaged cache entry was removed (%s): %s", path.name, error)
            file.close()
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)
        return found

    def adopt(self, key: str, path: Path) -> str | None:
        """Keep a finished file of noise levels, which is moved. Returns None, or a sentence saying why it was not."""
        size = path.stat().st_size
        if size > self.budget:
            return self._too_large(size)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            try:
                os.replace(path, self._path(key))
            except OSError:  # on another disk, or held open on Windows
                with replacing(self._path(key)) as partial:
                    shutil.copyfile(path, partial)
            self._make_room(0)
        except (OSError, EditError) as error:
            return f"the inversion could not be kept in the cache: {error}"
        return None

    def _too_large(self, size: int) -> str:
        return f"the inversion ({size / 1e6:.0f} MB) is not kept: the cache may hold {self.budget / 1e6:.0f} MB"

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
