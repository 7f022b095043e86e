"""The example clips that ship with the project, and the pictures of clips that the page shows."""

import base64
import io
import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from editor.media import Interval, filmstrip, read_thumbnails, spread_frames
from editor.settings import ROOT

log = logging.getLogger(__name__)

FOLDER = ROOT / "assets" / "examples"
POSTER_HEIGHT = 160


@dataclass(frozen=True)
class Example:
    """One shipped clip with a sentence that describes it and sentences that change it."""

    file: Path
    title: str
    source: str
    targets: tuple[str, ...]

    def poster(self) -> bytes:
        """Its first frame, as webp."""
        return _poster(self.file)


def load_examples(folder: Path = FOLDER) -> tuple[Example, ...]:
    """What `examples.json` of the folder lists and is there; a missing list is an empty one."""
    try:
        rows = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    found = []
    for row in rows:
        example = Example(folder / row["file"], row["title"], row["source"], tuple(row["targets"]))
        if example.file.is_file():
            found.append(example)
        else:
            log.warning("the example clip %s is listed but missing", example.file.name)
    return tuple(found)


SHOWN = 48
"""Most pictures of a strip: more would be too small to tell apart, and a large page."""


@lru_cache(maxsize=32)
def _poster(file: Path) -> bytes:
    return _webp(spread_frames(file, 1, POSTER_HEIGHT)[0])


def film(clip: Path, height: int = 56, frames: int = 10) -> str:
    """The whole clip as a band of `frames` pictures, as a data address."""
    return _data(np.concatenate(list(spread_frames(clip, frames, height)), axis=1))


def used_frames(
    clip: Path, start: float, end: float | None, key_fps: float, most: int, height: int = 56
) -> tuple[str, Interval]:
    """The keyframes of an edit of this interval, in rows, as a data address; and the interval itself.

    Of many every second, third ... is shown.
    """
    pictures, interval = read_thumbnails(clip, start, end, key_fps, most, height)
    pictures = pictures[:: -(-len(pictures) // SHOWN)]
    return _data(filmstrip(pictures, columns=8 if len(pictures) <= 16 else 12)), interval


def _data(picture: np.ndarray) -> str:
    return "data:image/webp;base64," + base64.b64encode(_webp(picture)).decode()


def _webp(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "webp", quality=80)
    return out.getvalue()
