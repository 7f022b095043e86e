"""Words on the page: those that differ, marked; those the model will not read; and those the built-in model knows.

The only module of the page that knows the demo world.
"""

import logging
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from editor.demo import vocabulary
from editor.demo.describe import described
from editor.media import spread_frames
from editor.options import quoted
from editor.reading import Reading
from editor.settings import ROOT
from editor.web.texts import _

log = logging.getLogger(__name__)

TOKEN_BUDGET = 75
"""Tokens of a prompt that a CLIP text encoder reads, without its begin and end marks."""
BUILT_IN = "demo"
PATIENCE = 300
"""Seconds for a captioner, which may have to be fetched first."""
LONGEST = 200
"""Characters of a suggestion."""
LOOKED_AT, SMALL = 5, 96
"""Frames of a clip, and their height, by which it is described."""
NAMES = {"subjects": "Things", "colors": "Colours", "places": "Places", "looks": "Looks"}


def marked(reading: Reading) -> str:
    """The target against the source as HTML: struck and inserted words, all escaped, readable without colour."""
    parts = []
    for piece in reading.pieces:
        if piece.kept:
            parts.append(escape(piece.target))
            continue
        if piece.source:
            parts.append(f"<del>{escape(piece.source)}</del>")
        if piece.target:
            parts.append(f"<ins>{escape(piece.target)}</ins>")
    return " ".join(parts)


def pointed(reading: Reading, maps: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The words of the marked sentence, each as text, how it is marked ("", "del", "ins"), and its rows in the picture
    of the word maps: what the original is covered with, and what the edit is. None: the word has no map.

    `maps`: what a result says of that picture, see `stages.word_maps`.
    """
    ours = _rows(reading.source, maps["source"], 0)
    theirs = _rows(reading.target, maps["target"], len(maps["source"]))
    stays = {j: i for i, j in reading.pairs}
    found, i, j = [], 0, 0
    for piece in reading.pieces:
        for word in piece.source.split():
            found.append({"text": word, "mark": "del", "rows": [ours[i], ours[i]]})
            i += 1
        for word in piece.target.split():
            before = ours[stays[j]] if piece.kept else theirs[j]
            found.append({"text": word, "mark": "" if piece.kept else "ins", "rows": [before, theirs[j]]})
            i, j = i + piece.kept, j + 1
    for word in found:  # where one prompt was never run, the other's map stands for both
        known = [row for row in word["rows"] if row is not None]
        word["rows"] = [known[0], known[-1]] if known else None
    return found


def _rows(words: Sequence[str], mapped: Sequence[str], first: int) -> list[int | None]:
    """The row of each word, where the words with a row, in order, are `mapped`; their rows begin at `first`."""
    rows: list[int | None] = []
    done = 0
    for word in words:
        here = done < len(mapped) and mapped[done] == word
        rows.append(first + done if here else None)
        done += here
    return rows


def estimated_tokens(prompt: str) -> int:
    """About how many tokens a CLIP tokenizer makes of a prompt: common words are one, long or odd ones several.

    Counted on the safe side; the engine counts exactly and reports what it cut.
    """
    return sum(1 + max(0, len(word) - 9) // 4 for word in re.findall(r"\w+|[^\w\s]", prompt))


def beyond_budget(prompt: str) -> str:
    """The words at the end of a prompt that will probably not be read; empty when all fit."""
    words = prompt.split()
    for count in range(len(words), 0, -1):
        if estimated_tokens(" ".join(words[:count])) <= TOKEN_BUDGET:
            return " ".join(words[count:])
    return ""


def unknown_words(prompt: str, model: str) -> list[str]:
    """Words the built-in model has never seen; of other models nothing is known, so nothing is said."""
    return vocabulary.unknown_words(prompt) if model == BUILT_IN else []


class Suggestions:
    """Says what a clip may show: the built-in model's clips by its own classifier, others by a captioner of the Hub.

    `captioner`: the model's name, empty for none. It runs in a process of its own, one at a time; once it has failed,
    which the log says, nobody waits for it again.
    """

    def __init__(self, captioner: str) -> None:
        self._captioner = captioner
        self._turn = Lock()

    def of(self, clip: Path, start: float, end: float, model: str) -> str:
        """A sentence on the clip between two seconds; empty where nothing is known. Raises `EditError`."""
        if model == BUILT_IN:
            return described(spread_frames(clip, LOOKED_AT, SMALL, start, end)) or ""
        if not self._captioner or not self._turn.acquire(blocking=False):
            return ""
        try:
            return self._captioned(spread_frames(clip, 3, None, start, end)[1])
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
            log.warning("The captioner %s is not used: %s", self._captioner, quoted(" ".join(said)))
            self._captioner = ""
            return ""
        finally:
            self._turn.release()

    def _captioned(self, frame: np.ndarray) -> str:
        with TemporaryDirectory() as folder:
            picture = Path(folder) / "frame.png"
            Image.fromarray(frame).save(picture)
            command = [sys.executable, "-m", "editor.machine.caption", self._captioner, str(picture)]
            told = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
            done = subprocess.run(command, cwd=ROOT, timeout=PATIENCE, check=True, **told)
        return " ".join(done.stdout.split())[:LONGEST]


def chips() -> dict[str, Any]:
    """The value of the page's word chips."""
    groups = [{"name": _(NAMES.get(kind, kind)), "words": list(words)} for kind, words in vocabulary.GROUPS.items()]
    return {"groups": groups}
