"""The demo world: a drawn clip for every scene, and with it the right answer to every edit.

Motion, camera and scenery come from the seed alone. The same seed with one attribute changed is the ground truth of
that edit. Subjects are sprites that are painted and scaled; their colours are uint8 RGBA arrays."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from zipfile import ZipFile

import cv2
import numpy as np
from PIL import Image

from editor.demo.scenery import Layer, paint
from editor.demo.vocabulary import SUBJECTS, Scene
from editor.events import EditError
from editor.settings import ROOT

SPRITES = ROOT / "assets" / "sprites.zip"
SPRITE_SIDE = 160  # pixels; more than any frame of the built-in model needs

# Dark, base and light tone of every paint. Shading moves along this ramp, so a painted thing keeps its form.
PAINTS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((110, 8, 24), (226, 32, 44), (255, 140, 132)),
    "orange": ((150, 62, 4), (255, 136, 14), (255, 206, 128)),
    "yellow": ((158, 116, 4), (255, 218, 34), (255, 246, 160)),
    "green": ((10, 84, 32), (46, 182, 66), (158, 236, 150)),
    "blue": ((14, 36, 132), (36, 104, 240), (146, 196, 255)),
    "purple": ((66, 14, 112), (150, 58, 218), (216, 166, 255)),
}


@lru_cache(maxsize=128)
def sprite(subject: str, color: str | None) -> np.ndarray:
    """The subject's picture, painted in `color` (None: its own colours), tight around it.

    uint8 (SPRITE_SIDE, SPRITE_SIDE, 4).
    """
    with ZipFile(SPRITES) as sprites, sprites.open(f"{subject}.webp") as file:
        picture = Image.open(file).convert("RGBA")
    picture = picture.crop(picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox())
    scale = SPRITE_SIDE / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SPRITE_SIDE, SPRITE_SIDE))
    standing = (SPRITE_SIDE - picture.width) // 2, SPRITE_SIDE - picture.height  # on the lower edge
    square.paste(picture, standing)
    rgba = np.array(square)
    hue = SUBJECTS[subject].hue
    return rgba if color is None or hue is None else _painted(rgba, hue, color)


def _painted(rgba: np.ndarray, hue: tuple[float, float], color: str) -> np.ndarray:
    """Replace the pixels around `hue` by the paint's ramp, following their lightness."""
    hsv = cv2.cvtColor((rgba[..., :3] / 255).astype(np.float32), cv2.COLOR_RGB2HSV)
    distance = np.abs((hsv[..., 0] - hue[0] + 180) % 360 - 180)
    weight = np.clip((hue[1] + 12 - distance) / 12, 0, 1) * np.clip((hsv[..., 1] - 0.18) / 0.15, 0, 1)
    light = rgba[..., :3].astype(np.float32) @ np.array([0.35, 0.5, 0.15], np.float32)
    painted = weight > 0.5
    low, middle, high = np.percentile(light[painted & (rgba[..., 3] > 128)], [2, 55, 99])
    ramp = np.array(PAINTS[color], np.float32)
    new = np.stack([np.interp(light, [low, middle, high], ramp[:, c]) for c in range(3)], axis=-1)
    out = rgba.copy()
    out[..., :3] = np.round(rgba[..., :3] * (1 - weight[..., None]) + new * weight[..., None])
    return out


def placed(subject: str, color: str | None, side: float, x: float, y: float, size: int) -> np.ndarray:
    """The sprite `side` pixels high, standing with its foot at (x, y), on a transparent (size, size) canvas.

    Returns float32 (size, size, 4): colour premultiplied by alpha in 0..255, alpha in 0..1. The canvas position and
    the scaling depend on the arguments alone, so two subjects or colours at the same place share the geometry.
    """
    source = sprite(subject, color).astype(np.float32)
    alpha = source[..., 3:] / 255
    premultiplied = np.concatenate([source[..., :3] * alpha, alpha], axis=-1)
    small = max(2, round(side))
    scaled = cv2.resize(premultiplied, (small, small), interpolation=cv2.INTER_AREA)
    shift = np.float32([[side / small, 0, x - side / 2], [0, side / small, y - side]])
    return np.clip(cv2.warpAffine(scaled, shift, (size, size), flags=cv2.INTER_LINEAR), 0, 255)


SIZE = 96  # pixels, the built-in model's frame
FINER = 2  # pixels drawn per frame pixel and axis, then averaged
LOOK_REACH = {"plain": 0, "sunset": 0, "sketch": 2}
"""How many pixels far a pixel's neighbours matter."""


class Motion(NamedTuple):
    """Where the subject stands at one moment, in fractions of the frame; `lift` is its height above the ground."""

    x: float
    ground: float
    lift: float
    side: float
    camera: float


def render(scene: Scene, frames: int = 24, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Draw `frames` moments, evenly spread over the clip.

    Returns the frames, uint8 (F, size, size, 3), and the mask, bool (F, size, size): every pixel that the subject
    touches, its shadow, soft edges and the reach of the look included.
    Raises `EditError` for fewer than one frame or a size that is not a positive multiple of 8.
    """
    if frames < 1:
        raise EditError(f"frames is {frames}. Allowed: 1 or more.")
    drawn, mask, _ = render_at(scene, [(i + 0.5) / frames for i in range(frames)], size)
    return drawn, mask


def render_at(scene: Scene, times: Sequence[float], size: int = SIZE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Like `render` at given `times`, each in 0..1 of the clip.

    A third array, bool (F, size, size), says where the sprite hides the place completely.
    """
    if size < 8 or size % 8:
        raise EditError(f"size is {size}. Allowed: multiples of 8, from 8.")
    moments = [_motion(scene.seed, t) for t in times]
    pictures, touched, opaque = zip(*(_draw(scene, m, size) for m in moments), strict=True)
    reach = LOOK_REACH[scene.look]
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    touched = [cv2.dilate(m.astype(np.uint8), kernel) > 0 for m in touched]
    # Beyond the frame there is nothing of the place either, so the border does not eat into the opaque part.
    opaque = [cv2.erode(m.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) > 0 for m in opaque]
    horizon = _horizon(scene.seed)
    return np.stack([apply_look(p, scene.look, horizon) for p in pictures]), np.stack(touched), np.stack(opaque)


def _horizon(seed: int) -> float:
    return float(np.random.default_rng([seed, 1]).uniform(0.5, 0.58))


def _motion(seed: int, t: float) -> Motion:
    """Subject and camera at time `t` in 0..1 of the clip, from the seed alone."""
    rng = np.random.default_rng([seed, 2])
    kind = ("drive", "hop", "float", "near")[int(rng.integers(4))]
    side, ground = float(rng.uniform(0.46, 0.6)), float(rng.uniform(0.84, 0.92))
    start, travel = float(rng.uniform(0.56, 0.68)), float(rng.uniform(0.18, 0.32))
    camera = float(rng.uniform(0, 0.35)) + t * float(rng.uniform(0.15, 0.5))
    phase, lift, x = float(rng.uniform(0, 6.3)), 0.0, start - travel * t
    if kind == "hop":
        lift = 0.09 * abs(np.sin(phase + t * 9))
    elif kind == "float":
        lift, x = 0.08 + 0.04 * np.sin(phase + t * 6), 0.5 + 0.5 * (x - 0.5)
    elif kind == "near":
        side, x = side * (0.78 + 0.36 * t), 0.5 + 0.4 * (x - 0.5)
        ground = ground - 0.05 * (1 - t)
    return Motion(x, ground, float(lift), side, camera)


@lru_cache(maxsize=16)
def _scenery(place: str, seed: int, unit: int) -> list[Layer]:
    return paint(place, _horizon(seed), unit, np.random.default_rng([seed, 3]))


def _draw(scene: Scene, motion: Motion, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One frame before its look: colours float32 (size, size, 3) in 0..255, touched and opaque masks."""
    unit = size * FINER
    backdrop = Image.new("RGBA", (unit, unit))
    for layer in _scenery(scene.place, scene.seed, unit):
        left = round(motion.camera * layer.speed * unit)
        backdrop.alpha_composite(layer.image.crop((left, 0, left + unit, unit)))
    picture = np.array(backdrop)[..., :3].astype(np.float32)
    shadow = _shadow(motion, unit)
    picture *= 1 - 0.42 * shadow[..., None]
    thing = placed(
        scene.subject,
        scene.color,
        motion.side * unit,
        motion.x * unit,
        (motion.ground - motion.lift) * unit,
        unit,
    )
    picture = picture * (1 - thing[..., 3:]) + thing[..., :3]
    alpha = _corners(thing[..., 3])
    touched = (alpha.max(axis=0) > 0) | (_corners(shadow).max(axis=0) > 0)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)  # FINER is whole: the mean of each block
    return small, touched, alpha.min(axis=0) >= 1


def _corners(fine: np.ndarray) -> np.ndarray:
    """(size * FINER, size * FINER) -> (FINER ** 2, size, size): the drawn pixels of every frame pixel."""
    return np.stack([fine[i::FINER, j::FINER] for i in range(FINER) for j in range(FINER)])


def _shadow(motion: Motion, unit: int) -> np.ndarray:
    """The soft shadow on the ground, float32 (unit, unit) in 0..1; smaller and fainter under a lifted subject."""
    y, x = np.mgrid[0:unit, 0:unit].astype(np.float32) / unit
    fade = 1 - 2.5 * motion.lift
    rx, ry = motion.side * 0.46 * fade, motion.side * 0.09 * fade
    distance = ((x - motion.x) / rx) ** 2 + ((y - motion.ground) / ry) ** 2
    return np.clip(1.2 * (1 - distance), 0, 1) * fade


def apply_look(picture: np.ndarray, look: str, horizon: float) -> np.ndarray:
    """Filter colours float32 (H, W, 3) in 0..255; `horizon` is a fraction of the height. Returns uint8."""
    if look == "sunset":
        picture = _sunset(picture, horizon)
    elif look == "sketch":
        picture = _sketch(picture)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _sunset(picture: np.ndarray, horizon: float) -> np.ndarray:
    """Warm, low light: blues fade, and a glow lies along the horizon."""
    rows = (np.arange(picture.shape[0]) + 0.5) / picture.shape[0]
    glow = 0.06 + 0.34 * np.exp(-(((rows - horizon) / 0.2) ** 2))
    warm = picture * np.array([1.0, 0.78, 0.7], np.float32)
    return warm + glow[:, None, None].astype(np.float32) * (np.array([255, 122, 48], np.float32) - warm)


def _sketch(picture: np.ndarray) -> np.ndarray:
    """Coloured pencil: pale tones on paper, dark lines where the lightness changes."""
    light = cv2.GaussianBlur(picture @ np.array([0.3, 0.59, 0.11], np.float32), (3, 3), 0)
    edges = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)) / 4
    gray = light[..., None]
    paper = np.array([250, 246, 236], np.float32)
    tone = paper - (255 - (0.55 * picture + 0.45 * gray)) * np.float32(0.5)
    return tone - np.minimum(edges * 1.5, 120)[..., None]
