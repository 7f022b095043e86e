"""A worker on a node of a Ray cluster: the class of the actor. It shares no disk with the server.

The clip arrives as bytes; results wait in a folder of the node until the server has fetched them. Of progress and
previews only the newest is kept: who asks seldom, over a slow network, misses the others and holds nothing up.
"""

import hashlib
import shutil
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from editor.console import log_to_terminal
from editor.events import Progress
from editor.jobs import files
from editor.jobs.executor import Outcome, PreviewSaved, Task
from editor.jobs.perform import Performer
from editor.jobs.wire import Setup, decode, encode
from editor.request import EditRequest
from editor.settings import ROOT, Settings


@dataclass(frozen=True)
class News:
    """What is new since the last answer, in `wire`'s form; None where nothing is."""

    progress: bytes | None = None
    saved: bytes | None = None
    preview: bytes | None = None


@dataclass(frozen=True)
class Remains:
    """How a run ended, in `wire`'s form, and the files that it left: path below `folder` -> bytes."""

    outcome: bytes
    folder: str
    sizes: dict[str, int]


def fingerprint() -> str:
    """Of the program's source here: server and nodes must compute the same."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "editor").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


class Node:
    """Computes one run at a time, in the thread of `run`; everything else is asked for meanwhile, in other threads.

    Where things are (data, LoRAs, device) is the node's own business, set by its own `EDITOR_*`.
    """

    def __init__(self, slot: str, setup: bytes) -> None:
        asked: Setup = decode(setup)
        own = Settings.from_env()
        log_to_terminal(slot, asked.settings.log)
        files.prepare(own.data)
        settings = replace(own, executor="process", devices=(slot,), safety=asked.settings.safety)
        self._slot = slot
        self._performer = Performer(asked.engine, settings, asked.timing.preview)
        self._scratch = Path(tempfile.mkdtemp(prefix="run-", dir=files.temporary_folder(own)))
        self._stopped = -1
        self._changed = threading.Condition()
        self._news = News()
        self._idle = True

    def ready(self) -> bool:
        """Answers as soon as the worker has started."""
        return True

    def run(self, number: int, clip: bytes, request: dict) -> Remains:
        """Compute run `number`. Its files stay until `clear`."""
        self._news, self._idle = News(), False
        folder = self._scratch / str(number)
        folder.mkdir()
        (folder / files.CLIP).write_bytes(clip)
        task = Task(folder, self._scratch / "preview.webp", EditRequest.from_dict(request))
        outcome = self._performer.run(self._slot, task, self._report, lambda: self._stopped == number)
        with self._changed:
            self._idle = True
            self._changed.notify_all()
        return Remains(encode(outcome), str(folder), _sizes(outcome, folder))

    def news(self, seconds: float) -> News:
        """What is new; waits up to `seconds` for it, or for the end of the run."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._news != News(), seconds)
            news, self._news = self._news, News()
        return news

    def stop(self, number: int) -> None:
        """End run `number` early, also if it is about to begin."""
        self._stopped = number

    def read(self, number: int, name: str, offset: int, length: int) -> bytes:
        """A part of a file that run `number` left."""
        with (self._scratch / str(number) / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def clear(self, number: int) -> None:
        """Forget what run `number` left."""
        shutil.rmtree(self._scratch / str(number), ignore_errors=True)

    def _report(self, event: Progress | PreviewSaved) -> None:
        with self._changed:
            if isinstance(event, Progress):
                self._news = replace(self._news, progress=encode(event))
            else:
                picture = (self._scratch / "preview.webp").read_bytes()
                self._news = replace(self._news, saved=encode(event), preview=picture)
            self._changed.notify_all()


def _sizes(outcome: Outcome, folder: Path) -> dict[str, int]:
    """The files of all results by their path below `folder`; what lies outside is left out, as the server would."""
    paths = [path.resolve() for result in outcome.results for path in result.files.values()]
    root = folder.resolve()
    return {
        path.relative_to(root).as_posix(): path.stat().st_size
        for path in paths
        if path.is_relative_to(root) and path.is_file()
    }
