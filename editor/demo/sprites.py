"""Sprites of the demo world: loading, painting in another colour, scaling. Colours are uint8 RGBA arrays."""

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from editor.demo.vocabulary import SUBJECTS
from editor.settings import ROOT

FOLDER = ROOT / "assets" / "sprites"
SIDE = 160  # pixels; more than any frame of the built-in model needs

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
    """The subject's picture, painted in `color` (None: its own colours), uint8 (SIDE, SIDE, 4), tight around it."""
    picture = Image.open(FOLDER / f"{subject}.webp").convert("RGBA")
    picture = picture.crop(picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox())
    scale = SIDE / max(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(picture, ((SIDE - picture.width) // 2, SIDE - picture.height))  # it stands on the lower edge
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
