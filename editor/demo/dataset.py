"""Scenes for training and for tests: which are drawn, which triples are kept out, and frames rendered ahead."""

import hashlib
import json
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.random import Generator

from editor.demo.captions import any_caption
from editor.demo.words import COLORS, DARK_PLACES, LOOKS, PLACES, SUBJECTS
from editor.demo.world import SIZE, Scene, render_at

UNSEEN_SEED = 10_000_000
"""Training draws its seeds below this number; checks and the evaluation's tasks take them from here on."""

Triple = tuple[str, str | None, str]


def triples() -> list[Triple]:
    """Every (subject, colour, place) of the world."""
    colors = {name: COLORS if kind.paintable else (None,) for name, kind in SUBJECTS.items()}
    return [(s, c, p) for s in SUBJECTS for c in colors[s] for p in PLACES]


def held_out() -> list[Triple]:
    """The tenth of the triples that the model is never trained on: those with the smallest hash of their names."""
    ranked = sorted(triples(), key=lambda t: hashlib.sha256(repr(t).encode()).hexdigest())
    return sorted(ranked[: len(ranked) // 10], key=repr)


def draw_scene(rng: Generator, seeds: tuple[int, int], allowed: list[Triple], plain_share: float = 0.74) -> Scene:
    """A random scene: triple from `allowed`, seed from the range, look plain or another one that suits the place."""
    subject, color, place = allowed[int(rng.integers(len(allowed)))]
    others = [look for look in LOOKS if look != "plain" and not (look == "sunset" and place in DARK_PLACES)]
    look = "plain" if rng.random() < plain_share else others[int(rng.integers(len(others)))]
    return Scene(subject, color, place, look, int(rng.integers(*seeds)))


def training_triples() -> list[Triple]:
    """Every triple but the held-out ones; unpaintable subjects four times, since they come in one colour only."""
    kept = set(held_out())
    return [t for t in triples() if t not in kept for _ in range(1 if t[1] else 4)]


def training_frames(count: int, folder: Path, seed: int = 0) -> tuple[np.ndarray, list[list[str]]]:
    """`count` training frames and four captions for each, rendered once and kept in `folder`.

    Returns a memory map uint8 (count, SIZE, SIZE, 3) and the captions. Two moments are drawn of every scene.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = folder / f"frames-{count}-{seed}"
    if not name.with_suffix(".json").exists():
        frames = np.lib.format.open_memmap(name.with_suffix(".npy"), "w+", np.uint8, (count, SIZE, SIZE, 3))
        captions: list[list[str]] = []
        with get_context("spawn").Pool(2) as pool:
            for pictures, texts in pool.imap(_chunk, [(seed, i) for i in range(0, count, _CHUNK)]):
                room = min(len(pictures), count - len(captions))
                frames[len(captions) : len(captions) + room] = pictures[:room]
                captions += texts[:room]
        frames.flush()
        name.with_suffix(".json").write_text(json.dumps(captions))
    return np.load(name.with_suffix(".npy"), mmap_mode="r"), json.loads(name.with_suffix(".json").read_text())


_CHUNK = 256


def _chunk(key: tuple[int, int]) -> tuple[np.ndarray, list[list[str]]]:
    rng = np.random.default_rng(key)
    allowed, pictures, texts = training_triples(), [], []
    while len(pictures) < _CHUNK:
        scene = draw_scene(rng, (0, UNSEEN_SEED), allowed)
        frames, _, _ = render_at(scene, rng.random(2))
        for frame in frames:
            pictures.append(frame)
            texts.append([any_caption(scene, rng) for _ in range(4)])
    return np.stack(pictures), texts
