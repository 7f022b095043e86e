"""What a clip of the demo world shows, said by the classifier that ships with it. No torch: the page asks.

The network is small and its layers are written out in numpy; `editor.demo.judge` trains it.
"""

from functools import lru_cache

import cv2
import numpy as np
from safetensors.numpy import load_file

from editor.demo.vocabulary import COLORS, LOOKS, PLACES, SUBJECTS, Scene, caption
from editor.settings import ROOT

WEIGHTS = ROOT / "assets" / "judge" / "judge.safetensors"
SIDE = 96
"""Pixels of the frames that the classifier sees."""
SURE = 0.75
"""Probability from which each answer is believed, mean over the frames; clips of another kind rarely reach it."""
HEADS: dict[str, tuple[str | None, ...]] = {
    "subject": tuple(SUBJECTS),
    "color": (*COLORS, None),
    "place": tuple(PLACES),
    "look": tuple(LOOKS),
}


def described(frames: np.ndarray) -> str | None:
    """A sentence for frames uint8 (N, H, W, 3) of one clip; None where the classifier is not sure."""
    small = [cv2.resize(_square(frame), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames]
    found = {}
    for name, scores in attributes(np.stack(small)).items():
        shares = _softmax(scores).mean(axis=0)
        best = int(shares.argmax())
        found[name] = HEADS[name][best]
        if shares[best] < SURE and name != "color":
            return None
    if not SUBJECTS[found["subject"]].paintable:
        found["color"] = None
    return caption(Scene(**found))


def attributes(frames: np.ndarray) -> dict[str, np.ndarray]:
    """The classifier's scores (N, classes) of each attribute for frames uint8 (N, 96, 96, 3)."""
    weights = _weights()
    x = frames.astype(np.float32).transpose(0, 3, 1, 2) / 127.5 - 1
    for stage in range(4):
        x = _convolved(x, weights, f"features.{stage}.0", stride=2)
        x = _silu(_normed(x, weights, f"features.{stage}.1"))
    x = _silu(_convolved(x, weights, "features.4", stride=1))
    x = _silu(x.reshape(len(x), -1) @ weights["hidden.0.weight"].T + weights["hidden.0.bias"])
    return {name: x @ weights[f"heads.{name}.weight"].T + weights[f"heads.{name}.bias"] for name in HEADS}


@lru_cache(maxsize=1)
def _weights() -> dict[str, np.ndarray]:
    return {name: values.astype(np.float32) for name, values in load_file(WEIGHTS).items()}


def _square(frame: np.ndarray) -> np.ndarray:
    """The middle of the frame."""
    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]


def _convolved(x: np.ndarray, weights: dict[str, np.ndarray], name: str, stride: int) -> np.ndarray:
    """A 3 x 3 convolution with a border of zeros, (N, C, h, w)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    mixed = np.tensordot(windows, weights[f"{name}.weight"], axes=((1, 4, 5), (1, 2, 3)))
    return mixed.transpose(0, 3, 1, 2) + weights[f"{name}.bias"][:, None, None]


def _normed(x: np.ndarray, weights: dict[str, np.ndarray], name: str, groups: int = 8) -> np.ndarray:
    """Group normalisation (Wu and He, arXiv 1803.08494)."""
    parts = x.reshape(len(x), groups, -1)
    mean, spread = parts.mean(axis=2, keepdims=True), parts.var(axis=2, keepdims=True)
    even = ((parts - mean) / np.sqrt(spread + 1e-5)).reshape(x.shape)
    return even * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]


def _silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-np.clip(x, -60, 60)))


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
