"""A whole app in this process, served on a free port, with a fake engine in the worker process."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from editor.jobs import JobService
from editor.jobs.timing import Timing
from editor.media import write_video
from editor.settings import Settings
from editor.web.app import WebApp

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


def draw_clip(path: Path, frames: int = 16, size: int = 96, fps: float = 8.0) -> Path:
    """A red square that moves over green, as a playable file."""
    pictures = np.zeros((frames, size, size, 3), np.uint8)
    pictures[..., 1] = 140
    for i, picture in enumerate(pictures):
        left = 4 + i * (size - 40) // frames
        picture[30:60, left : left + 30] = (220, 30, 30)
    write_video(pictures, fps, path)
    return path


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
        gr.close_all(verbose=False)


def one_example(shelf: Path) -> Path:
    shelf.mkdir()
    draw_clip(shelf / "square.mp4")
    row = {"file": "square.mp4", "title": "A square", "source": SOURCE, "targets": [TARGET]}
    (shelf / "examples.json").write_text(json.dumps([row]))
    return shelf


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
