"""The example clips that ship with the project, and the pictures of clips that the page shows."""

import base64
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editor.media import Interval, filmstrip, read_thumbnails, spread_frames
from editor.request import EditRequest
from editor.settings import ROOT
from editor.web import texts
from editor.web.texts import _
from editor.web.view import Json, finished_view
from editor.web.words import BUILT_IN

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
    edited: Path | None = None
    """Its finished edit towards the first target, made before it was shipped."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """When and how that edit was made: `on` (a day), `model`, `preset`, `summary` (headline numbers)."""

    def request(self, model: str = BUILT_IN) -> EditRequest:
        """What its finished edit was asked for, and what making it again with `model` asks for."""
        return EditRequest.from_preset(source=self.source, targets=self.targets[:1], model=model)

    def view(self, number: int) -> Json | None:
        """Its finished edit as the stage shows it, a job that is done; None where there is none."""
        if self.edited is None:
            return None
        made, asked = self.made, self.request()
        day = date.fromisoformat(made["on"])
        said = _(texts.MADE_EARLIER, day=day, preset=texts.preset_title(made["preset"]).lower())
        names = {"edited": "edited.mp4", "strip": "strip.webp", "gif": "edited.gif"}
        files = {name: f"example/{number}.{file}" for name, file in names.items()}
        return finished_view(f"example-{number}", asked, f"example/{number}.mp4", files, made["summary"], said)

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
        edited = folder / row["edited"] if "edited" in row else None
        edited = edited if edited and edited.is_file() else None
        example = Example(
            folder / row["file"], row["title"], row["source"], tuple(row["targets"]), edited, row.get("made", {})
        )
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
