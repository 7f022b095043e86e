"""Scenes for training and for tests: which are drawn, which triples are kept out, and frames rendered ahead."""

import hashlib
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.random import Generator

from editor.demo.vocabulary import COLORS, DARK_PLACES, LOOKS, PLACES, SUBJECTS, any_caption
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


Moment = tuple[Scene, float, list[str]]
"""A scene, a time in 0..1 of its clip, and four captions."""


def training_moments(count: int, seed: int = 0) -> list[Moment]:
    """What `training_frames` shows, in its order, without drawing it. Two moments are taken of every scene."""
    return [m for i in range(0, count, _CHUNK) for m in _moments((seed, i))][:count]


def training_frames(count: int, folder: Path, seed: int = 0) -> np.ndarray:
    """The drawn `training_moments`, rendered once and kept in `folder`: memory map uint8 (count, SIZE, SIZE, 3)."""
    return _rendered(count, folder, seed)[0]


def training_masks(count: int, folder: Path, seed: int = 0) -> np.ndarray:
    """Where the subject and its shadow touch the `training_frames`: bool (count, SIZE, SIZE)."""
    return np.unpackbits(_rendered(count, folder, seed)[1], axis=-1).view(bool)


def _rendered(count: int, folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames, and their masks eight pixels to the byte (count, SIZE, SIZE / 8), as memory maps."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{count}-{seed}.npy" for name in ("frames", "masks")]
    if not all(path.exists() for path in paths):
        unfinished = [path.with_suffix(".part") for path in paths]
        shapes = [(count, SIZE, SIZE, 3), (count, SIZE, SIZE // 8)]
        maps = [np.lib.format.open_memmap(p, "w+", np.uint8, s) for p, s in zip(unfinished, shapes, strict=True)]
        keys = [(seed, i) for i in range(0, count, _CHUNK)]
        with get_context("spawn").Pool(2) as pool:
            for (_, start), drawn in zip(keys, pool.imap(_drawn, keys), strict=True):
                for whole, part in zip(maps, drawn, strict=True):
                    whole[start : start + _CHUNK] = part[: count - start]
        for whole, source, path in zip(maps, unfinished, paths, strict=True):
            whole.flush()
            source.replace(path)
    return np.load(paths[0], mmap_mode="r"), np.load(paths[1], mmap_mode="r")


_CHUNK = 256


def _moments(key: tuple[int, int]) -> list[Moment]:
    """One chunk of moments, from its own random generator."""
    rng = np.random.default_rng(key)
    allowed, moments = training_triples(), []
    while len(moments) < _CHUNK:
        scene = draw_scene(rng, (0, UNSEEN_SEED), allowed)
        for time in rng.random(2):
            moments.append((scene, float(time), [any_caption(scene, rng) for _ in range(4)]))
    return moments


def _drawn(key: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One chunk's frames and packed masks."""
    drawn = [render_at(scene, [time]) for scene, time, _ in _moments(key)]
    masks = np.stack([masks[0] for _, masks, _ in drawn])
    return np.stack([frames[0] for frames, _, _ in drawn]), np.packbits(masks, axis=-1)
