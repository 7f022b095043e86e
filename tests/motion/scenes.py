"""Moving pictures with a known motion: a textured ground that slides, and what an edit of it would be."""

import cv2
import numpy as np


def texture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture with structure at several scales, float32 (height, width, 3) in 0 to 255."""
    noise = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            noise.uniform(-1, 1, (cells, cells, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        for cells in (4, 10, 24)
    ]
    return np.clip(128 + 60 * layers[0] + 50 * layers[1] + 30 * layers[2], 0, 255)


def sliding(frames: int, step: float = 2.0, seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    """Windows into a wide texture, each `step` pixels further to the right: uint8 (frames, height, width, 3)."""
    wide = texture(seed, height, width + round(abs(step) * frames) + 2)
    moves = [np.float32([[1, 0, -step * i], [0, 1, 0]]) for i in range(frames)]
    return np.stack([cv2.warpAffine(wide, move, (width, height), flags=cv2.INTER_LINEAR) for move in moves]).astype(
        np.uint8
    )


def inverted_red(frames: np.ndarray) -> np.ndarray:
    """An edit that depends on the place in the picture: the red channel turned round, (F, H, W, 3)."""
    edited = frames.copy()
    edited[..., 0] = 255 - edited[..., 0]
    return edited


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, at most 99."""
    return float(10 * np.log10(255**2 / max(((a.astype(np.float64) - b) ** 2).mean(), 1e-5)))
