"""Looks of the demo world: filters of the finished frame that leave its geometry alone."""

import cv2
import numpy as np

LOOK_REACH = {"plain": 0, "sunset": 0, "sketch": 2}
"""How many pixels far a pixel's neighbours matter."""


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
