"""The example clips: `python -m editor.demo.examples` draws them again into `assets/examples`."""

import json
import tempfile
import wave
from pathlib import Path

import numpy as np

from editor.demo.dataset import UNSEEN_SEED
from editor.demo.vocabulary import caption
from editor.demo.world import Scene, render
from editor.media import AudioSpan, write_video
from editor.media.ffmpeg import run
from editor.settings import ROOT

FOLDER = ROOT / "assets" / "examples"
SIZE, FPS, FRAMES = 192, 8, 20

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


def draw_examples(folder: Path = FOLDER) -> None:
    """Write the clips and `examples.json`: a list of {"file", "title", "source", "targets"}."""
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
    (folder / "examples.json").write_text(json.dumps(entries, indent=2) + "\n")


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


if __name__ == "__main__":
    draw_examples()
