"""Places of the demo world, painted as panoramas in layers that pass at different speeds.

Coordinates are fractions of the frame height; a painter gets a brush, the horizon and a random generator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
REACH = 2.0  # width of every layer in frames: one frame and the farthest camera pan


class Brush:
    """Draws on one transparent layer in fractions of the frame height."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.image = Image.new("RGBA", (round(unit * REACH), unit))
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, points: list[tuple[float, float]], color: Color) -> None:
        self._draw.polygon([(x * self.unit, y * self.unit) for x, y in points], fill=(*color, 255))

    def box(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        u = self.unit
        self._draw.rectangle([x * u, y * u, (x + width) * u, (y + height) * u], fill=(*color, 255))

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        u = self.unit
        self._draw.ellipse([(x - rx) * u, (y - ry) * u, (x + rx) * u, (y + ry) * u], fill=(*color, 255))

    def gradient(self, top: float, bottom: float, first: Color, last: Color) -> None:
        """Fill the full width between two heights with a vertical gradient."""
        rows = np.arange(self.unit) / self.unit
        share = np.clip((rows - top) / max(bottom - top, 1e-6), 0, 1)[:, None]
        column = np.array(first) * (1 - share) + np.array(last) * share
        alpha = ((rows >= top) & (rows < bottom)).astype(np.uint8) * 255
        rgba = np.concatenate([column, alpha[:, None]], axis=-1).astype(np.uint8)[:, None]
        strip = Image.fromarray(np.repeat(rgba, self.image.width, axis=1))
        self.image.alpha_composite(strip)

    def ridge(self, rng: Generator, base: float, height: float, waves: float, color: Color, bottom: float) -> None:
        """A smooth line of hills around `base`, filled down to `bottom`."""
        xs = np.linspace(0, REACH, 65)
        ys = sum(np.sin(xs * waves * k + rng.uniform(0, 6.3)) / k for k in (1.0, 2.3, 4.1))
        line = [(float(x), float(base - height * (0.5 + y / 3))) for x, y in zip(xs, ys, strict=True)]
        self.polygon([(0, bottom), *line, (REACH, bottom)], color)

    def grain(self, rng: Generator, strength: float, top: float) -> None:
        """Soft horizontal texture below `top`, `strength` levels of 255 strong."""
        pixels = np.array(self.image)
        height, width = pixels.shape[:2]
        noise = rng.standard_normal((height // 5 + 1, width // 14 + 1)).astype(np.float32)
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)[..., None] * strength
        rows = (np.arange(height) >= top * height)[:, None, None]
        pixels[..., :3] = np.clip(pixels[..., :3] + noise * rows, 0, 255).astype(np.uint8)
        self.image = Image.fromarray(pixels)
        self._draw = ImageDraw.Draw(self.image)


def _spread(rng: Generator, count: int, gap: float = 0.4) -> list[float]:
    """`count` places along the panorama, evenly spread with jitter, so that every view has some."""
    step = REACH / count
    return [step * (i + 0.5) + float(rng.uniform(-gap, gap)) * step for i in range(count)]


def _clouds(brush: Brush, rng: Generator, horizon: float, color: Color, count: int = 4) -> None:
    for x in _spread(rng, count):
        y, r = float(rng.uniform(0.1, horizon * 0.5)), float(rng.uniform(0.045, 0.07))
        for dx, dy, k in ((-1.3, 0.25, 0.7), (0, 0, 1.0), (1.3, 0.2, 0.75), (0.5, 0.4, 0.7), (-0.6, 0.4, 0.7)):
            brush.ellipse(x + dx * r, y + dy * r, r * k * 1.15, r * k * 0.8, color)


def _pine(brush: Brush, x: float, foot: float, height: float, dark: Color, light: Color) -> None:
    brush.box(x - height * 0.04, foot - height * 0.12, height * 0.08, height * 0.12, (92, 62, 44))
    for k in range(3):
        top, half = foot - height * (0.48 + 0.26 * k), height * (0.3 - 0.07 * k)
        low = top + height * 0.38
        brush.polygon([(x, top), (x - half, low), (x + half, low)], dark)
        brush.polygon([(x, top), (x - half, low), (x - half * 0.2, low)], light)


@dataclass(frozen=True)
class Layer:
    """One painted layer and its speed: 0 stays with the camera, 1 moves with the ground."""

    image: Image.Image
    speed: float


def _road(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.02, (84, 168, 236), (206, 234, 250))
    _clouds(sky, rng, h, (252, 253, 255))
    far.ridge(rng, h, 0.13, 3.1, (112, 176, 104), h + 0.02)
    for x in _spread(rng, 5):
        far.ellipse(x, h - 0.03, 0.07, 0.07, (70, 140, 76))
    near.gradient(h, h + 0.08, (120, 190, 92), (98, 168, 76))
    near.gradient(h + 0.08, 1, (96, 98, 106), (70, 72, 80))
    near.grain(rng, 3, h + 0.08)
    near.box(0, h + 0.085, REACH, 0.012, (226, 226, 220))
    start = float(rng.uniform(0, 0.3))
    for k in range(7):
        x, y = start + k * 0.32, h + (1 - h) * 0.62
        near.polygon([(x, y), (x + 0.17, y), (x + 0.155, y + 0.035), (x - 0.02, y + 0.035)], (244, 232, 170))


def _snow(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.02, (160, 188, 222), (232, 240, 248))
    far.ridge(rng, h - 0.02, 0.2, 2.7, (190, 206, 228), h + 0.02)
    for x in _spread(rng, 6):
        _pine(far, x, h + 0.01, float(rng.uniform(0.16, 0.26)), (84, 122, 128), (226, 238, 244))
    near.gradient(h, 1, (246, 250, 254), (214, 228, 244))
    near.grain(rng, 4, h)
    for x in _spread(rng, 4):
        y = float(rng.uniform(h + 0.1, 0.92))
        near.ellipse(x, y, 0.2, 0.022, (226, 236, 248))
        near.ellipse(x, y - 0.008, 0.19, 0.016, (255, 255, 255))


def _desert(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.02, (250, 190, 106), (255, 232, 180))
    sky.ellipse(float(rng.uniform(0.2, 0.8)), 0.16, 0.075, 0.075, (255, 246, 210))
    far.ridge(rng, h + 0.01, 0.17, 2.2, (226, 158, 84), h + 0.03)
    near.gradient(h, 1, (240, 186, 108), (214, 146, 76))
    near.ridge(rng, h + 0.12, 0.08, 2.6, (230, 170, 92), h + 0.2)
    near.gradient(h + 0.19, 1, (230, 170, 92), (206, 138, 70))
    near.grain(rng, 4, h)
    for x in _spread(rng, 3):
        foot, t = h + float(rng.uniform(0.02, 0.1)), float(rng.uniform(0.16, 0.24))
        for dx, lift, part in ((0, 0, 1.0), (-0.3, 0.35, 0.35), (0.3, 0.25, 0.4)):
            near.box(x + dx * t - t * 0.07, foot - t * (lift + part), t * 0.14, t * part, (74, 140, 80))
        near.box(x - t * 0.3, foot - t * 0.4, t * 0.6, t * 0.1, (74, 140, 80))


def _beach(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.02, (58, 160, 240), (190, 232, 252))
    _clouds(sky, rng, h, (250, 252, 255), count=3)
    far.gradient(h - 0.14, h + 0.04, (26, 120, 196), (60, 190, 214))
    for x in _spread(rng, 3):
        y = h - float(rng.uniform(0.08, 0.11))
        far.polygon([(x - 0.04, y), (x + 0.045, y), (x + 0.03, y + 0.022), (x - 0.03, y + 0.022)], (240, 244, 248))
        far.polygon([(x, y - 0.08), (x, y - 0.005), (x + 0.04, y - 0.005)], (250, 250, 250))
    near.gradient(h + 0.02, h + 0.06, (236, 248, 250), (236, 214, 164))
    near.gradient(h + 0.06, 1, (246, 222, 166), (228, 196, 134))
    near.grain(rng, 4, h + 0.06)
    for x in _spread(rng, 4):
        y = float(rng.uniform(h + 0.14, 0.95))
        near.ellipse(x, y, 0.03, 0.012, (212, 178, 120))


def _grass(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.02, (96, 184, 250), (214, 240, 254))
    _clouds(sky, rng, h, (255, 255, 255), count=3)
    far.ridge(rng, h, 0.16, 2.4, (142, 206, 108), h + 0.02)
    near.gradient(h, 1, (112, 202, 80), (62, 158, 56))
    near.grain(rng, 6, h)
    petals = ((255, 244, 246), (255, 222, 92), (246, 130, 170))
    for k, x in enumerate(_spread(rng, 16)):
        y = float(rng.uniform(h + 0.05, 0.97))
        near.ellipse(x, y, 0.016, 0.013, petals[k % 3])


def _forest(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.04, (132, 186, 160), (206, 226, 196))
    for x in _spread(rng, 13):
        _pine(sky, x, h + 0.02, float(rng.uniform(0.42, 0.5)), (96, 150, 122), (106, 160, 130))
    for x in _spread(rng, 9):
        _pine(far, x, h + 0.05, float(rng.uniform(0.46, 0.62)), (30, 92, 60), (44, 112, 70))
    near.gradient(h + 0.03, 1, (66, 116, 58), (40, 78, 40))
    near.grain(rng, 5, h + 0.03)
    for x in _spread(rng, 5):
        y = float(rng.uniform(h + 0.08, 0.96))
        near.ellipse(x, y, 0.05, 0.016, (92, 138, 66))


def _city(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.04, (22, 20, 54), (74, 52, 108))
    sky.ellipse(float(rng.uniform(0.15, 0.85)), 0.14, 0.055, 0.055, (250, 244, 214))
    for x in _spread(rng, 7, 0.2):
        height, width = float(rng.uniform(0.24, 0.46)), float(rng.uniform(0.18, 0.24))
        tone = int(rng.integers(0, 14))
        far.box(x - width / 2, h + 0.03 - height, width, height, (34 + tone, 32 + tone, 66 + tone))
        for column in range(3):
            for row in range(int(height / 0.085)):
                if rng.random() < 0.62:
                    wx = x - width / 2 + width * (0.14 + 0.28 * column)
                    far.box(wx, h + 0.05 - height + row * 0.085, width * 0.16, 0.036, (255, 214, 110))
    near.gradient(h + 0.03, h + 0.06, (96, 90, 120), (96, 90, 120))
    near.gradient(h + 0.06, 1, (52, 48, 80), (34, 32, 60))
    near.grain(rng, 3, h + 0.06)
    for x in _spread(rng, 6):
        near.ellipse(x, h + (1 - h) * 0.6, 0.05, 0.012, (120, 98, 110))


def _space(far: Brush, near: Brush, sky: Brush, rng: Generator, h: float) -> None:
    sky.gradient(0, h + 0.04, (6, 6, 22), (20, 18, 48))
    for x in _spread(rng, 30):
        r = float(rng.uniform(0.004, 0.009))
        sky.ellipse(x, float(rng.uniform(0.02, h - 0.05)), r, r, (240, 240, 255))
    x, y = float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.15, 0.22))
    sky.ellipse(x, y, 0.09, 0.09, (222, 132, 74))
    sky.ellipse(x - 0.02, y - 0.02, 0.055, 0.05, (240, 166, 104))
    far.ridge(rng, h + 0.01, 0.08, 3.4, (96, 98, 108), h + 0.03)
    near.gradient(h + 0.01, 1, (150, 152, 160), (112, 114, 124))
    near.grain(rng, 5, h + 0.01)
    for x in _spread(rng, 6):
        y, r = float(rng.uniform(h + 0.07, 0.95)), float(rng.uniform(0.04, 0.075))
        near.ellipse(x, y, r, r * 0.34, (94, 96, 106))
        near.ellipse(x, y + 0.006, r * 0.84, r * 0.24, (124, 126, 136))


_PAINTERS: dict[str, Callable[[Brush, Brush, Brush, Generator, float], None]] = {
    "road": _road,
    "snow": _snow,
    "desert": _desert,
    "beach": _beach,
    "grass": _grass,
    "forest": _forest,
    "city": _city,
    "space": _space,
}


def paint(place: str, horizon: float, unit: int, rng: Generator) -> list[Layer]:
    """The layers of `place` from back to front, RGBA, (unit * REACH) wide and unit high each."""
    far, near, sky = Brush(unit), Brush(unit), Brush(unit)
    _PAINTERS[place](far, near, sky, rng, horizon)
    brushes = ((sky, 0.15), (far, 0.45), (near, 1.0))
    return [Layer(brush.image, speed) for brush, speed in brushes]
