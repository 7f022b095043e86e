"""A whole app in this process, served on a free port, with a fake engine in the worker process."""

import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from editor.events import EditResult
from editor.jobs import JobService, files
from editor.jobs.store import hash_secret
from editor.jobs.timing import Timing
from editor.media import read_clip, write_video
from editor.request import EditRequest
from editor.settings import Settings
from editor.web.app import WebApp
from tests.web.fake_engine import summary_of, write_manifest, write_result, write_word_maps

ENGINE = "tests.web.fake_engine:run"
QUICK = Timing(tick=0.05, poll=0.05, preview=0.1, follow=0.05)
SOURCE = "a red car on the road"
TARGET = "a blue car on the road"
WAITING = "a blue waiting car on the road"


@dataclass(frozen=True)
class Served:
    """A running app."""

    url: str
    app: WebApp
    clip: Path
    """A short clip with a red square that moves."""

    def let_go(self) -> None:
        """End the waiting of "waiting" edits."""
        (self.app.settings.data / "go").touch()

    def hold(self) -> None:
        """Make "waiting" edits wait from now on."""
        (self.app.settings.data / "go").unlink(missing_ok=True)

    @property
    def service(self) -> JobService:
        return self.app.service

    def finished(self, *targets: str, owner: str = "", **values: Any) -> str:
        """The id of a finished job on `clip` that nobody waited for: as if the fake engine had made it."""
        asked = EditRequest.from_preset(source=SOURCE, targets=targets or (TARGET,), **values)
        return store_finished(self.service, self.clip, asked, owner or secrets.token_urlsafe(32))


def store_finished(service: JobService, clip: Path, asked: EditRequest, owner: str) -> str:
    """Put a finished job into a store: its clip, the fake engine's results, its row."""
    job_id, now = secrets.token_hex(16), time.time()
    folder = files.job_folder(service.settings.data, job_id)
    folder.mkdir()
    files.share(clip, folder / files.CLIP)
    results = [made_before(clip, n, folder, asked) for n in range(len(asked.targets))]
    row = {
        **{"id": job_id, "state": "done", "ready": 1, "owner": hash_secret(owner), "address": "", "created": now},
        **{"started": now - 3, "ended": now, "request": json.dumps(asked.to_dict())},
        "results": json.dumps([{"target": r.target, "folder": r.folder.name, "summary": r.summary} for r in results]),
    }
    with service.store.database.transaction() as db:
        db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", (*row.values(),))
    return job_id


def draw_clip(path: Path, frames: int = 16, size: int = 96, fps: float = 8.0) -> Path:
    """A red square that moves over green, as a playable file."""
    pictures = np.zeros((frames, size, size, 3), np.uint8)
    pictures[..., 1] = 140
    for i, picture in enumerate(pictures):
        left = 4 + i * (size - 40) // frames
        picture[30:60, left : left + 30] = (220, 30, 30)
    write_video(pictures, fps, path)
    return path


def made_before(clip: Path, n: int, folder: Path, asked: EditRequest) -> EditResult:
    """The fake engine's files of target `n` in `folder`; for every clip they are drawn once."""
    shelf = clip.parent / f"made-{n}"
    if not shelf.is_dir():
        read = read_clip(clip)
        frames = np.roll(np.stack(list(read.every_frame())), 1 + n, axis=-1)
        asked_once = EditRequest.from_preset(source=SOURCE, targets=(TARGET,) * (n + 1))
        write_result(shelf, asked_once, read, frames, n, time.monotonic())
    result = EditResult(asked.targets[n], folder / f"result-{n}", summary_of(asked, 16, 16, 3.2))
    result.folder.mkdir()
    for name in ("edited.mp4", "side_by_side.mp4", "poster.webp"):
        files.share(shelf / name, result.folder / name)
    write_manifest(result, asked)
    write_word_maps(result)
    return result


@contextmanager
def serving(folder: Path, engine: str = ENGINE, shelf: Path | None = None, **settings: Any) -> Iterator[Served]:
    """Serve an app whose data is in `folder`; it is gone, with its worker, when the block ends.

    `shelf` is a folder of example clips; without it there is one drawn example.
    """
    clip = draw_clip(folder / "clip.mp4")
    shelf = shelf or one_example(folder / "examples")
    values = {"data": folder / "data", "port": free_port(), "disk_floor_mb": 0, "jobs_per_address": 100, **settings}
    service = JobService(Settings(**values), engine=engine, timing=QUICK).start()
    app = WebApp(service, examples=shelf)
    try:
        url = app.launch(wait=False)
        yield Served(url.rstrip("/"), app, clip)
    finally:
        app.blocks.close(verbose=False)
        service.stop()


def one_example(shelf: Path, **more: Any) -> Path:
    """A folder with one example clip; `more`: further keys of its entry."""
    shelf.mkdir()
    draw_clip(shelf / "square.mp4")
    row = {"file": "square.mp4", "title": "A square", "source": SOURCE, "targets": [TARGET], **more}
    (shelf / "examples.json").write_text(json.dumps([row]))
    return shelf


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
