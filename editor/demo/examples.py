"""The example clips and their finished edits, in `assets/examples`: `python -m editor demo examples` makes them again.

`examples.json` lists {"file", "title", "source", "targets"}, and where the edit is there {"edited", "made"}: its file,
and the day, the model, the preset and the headline numbers.
"""

import json
import shutil
import tempfile
import wave
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from editor.demo.dataset import UNSEEN_SEED
from editor.demo.vocabulary import caption
from editor.demo.world import Scene, render
from editor.media import AudioSpan, write_video
from editor.media.ffmpeg import run
from editor.settings import ROOT

FOLDER = ROOT / "assets" / "examples"
SIZE, FPS, FRAMES = 192, 24, 60

# title, scene, what it should show instead
EXAMPLES: tuple[tuple[str, Scene, tuple[Scene, ...]], ...] = (
    (
        "Another colour",
        Scene("car", "red", "road", seed=UNSEEN_SEED + 11),
        (Scene("car", "blue", "road"), Scene("car", "green", "road")),
    ),
    ("Another place", Scene("penguin", None, "snow", seed=UNSEEN_SEED + 12), (Scene("penguin", None, "desert"),)),
    (
        "Another subject",
        Scene("fox", "orange", "grass", seed=UNSEEN_SEED + 13),
        (Scene("dinosaur", "orange", "grass"),),
    ),
    (
        "Another light",
        Scene("tractor", "yellow", "beach", seed=UNSEEN_SEED + 14),
        (Scene("tractor", "yellow", "beach", "sunset"),),
    ),
    ("Day to night", Scene("balloon", "red", "forest", seed=UNSEEN_SEED + 15), (Scene("balloon", "red", "city"),)),
    ("With sound", Scene("star", "yellow", "space", seed=UNSEEN_SEED + 16), (Scene("star", "purple", "space"),)),
)


def make_examples(say: Callable[[str], None], folder: Path = FOLDER, draw: bool = False) -> Iterator[Path]:
    """Edit every example clip with the built-in model and the default preset, towards its first target.

    Yields the finished files; with `draw` the clips are drawn anew before, otherwise only if they are not there. `say`
    hears of every clip. Needs torch.
    """
    from editor.diffusion.models import load_models
    from editor.pipeline import edit
    from editor.request import EditRequest
    from editor.settings import Settings

    if draw or not (folder / "examples.json").is_file():
        draw_examples(folder)
    entries = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    models = load_models("demo", Settings())
    for entry in entries:
        say(f"{entry['source']} -> {entry['targets'][0]}")
        request = EditRequest.from_preset(source=entry["source"], targets=tuple(entry["targets"][:1]), model="demo")
        with tempfile.TemporaryDirectory() as scratch:
            result = edit(folder / entry["file"], request, models, Path(scratch), previews=False)[0]
            entry["edited"] = Path(entry["file"]).with_suffix(".edited.mp4").name
            shutil.copyfile(result.edited, folder / entry["edited"])
        entry["made"] = _made(request.preset, result.summary)
        _write_list(folder, entries)
        yield folder / entry["edited"]


def _made(preset: str, summary: dict[str, Any]) -> dict[str, Any]:
    """When and how an edit was made, and its headline numbers where there are some; not how long that machine took."""
    numbers = {name: value for name, value in summary.items() if value is not None and name != "seconds"}
    return {"on": datetime.now(UTC).date().isoformat(), "model": "demo", "preset": preset, "summary": numbers}


def _write_list(folder: Path, entries: list[dict[str, Any]]) -> None:
    (folder / "examples.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def draw_examples(folder: Path = FOLDER) -> None:
    """Draw the clips and list them, without edits."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for title, scene, targets in EXAMPLES:
        name = title.lower().replace(" ", "-") + ".mp4"
        frames, _ = render(scene, FRAMES, SIZE)
        with tempfile.TemporaryDirectory() as scratch:
            sound = _chime(Path(scratch)) if title == "With sound" else None
            write_video(frames, FPS, folder / name, audio=sound)
        entry = {"file": name, "title": title, "source": caption(scene), "targets": [caption(t) for t in targets]}
        entries.append(entry)
    _write_list(folder, entries)


def _chime(folder: Path, rate: int = 24000) -> AudioSpan:
    """Five soft bell notes as a sound file."""
    seconds = FRAMES / FPS
    t = np.arange(round(seconds * rate)) / rate
    sound = np.zeros_like(t)
    for k, pitch in enumerate((523.25, 659.25, 783.99, 659.25, 1046.5)):
        after = np.maximum(t - k * seconds / 5, 0)
        sound += np.sin(2 * np.pi * pitch * after) * np.exp(-5 * after) * (after > 0)
    with wave.open(str(folder / "chime.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 9000).astype("<i2").tobytes())
    path = folder / "chime.mp4"
    run(["-y", "-i", f"file:{folder / 'chime.wav'}", "-c:a", "aac", f"file:{path}"])
    return AudioSpan(path, 0.0, seconds)
