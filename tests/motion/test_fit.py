"""What the colours of a frame explain of a change, and that the rest is left as it is."""

import cv2
import numpy as np
import pytest

from editor.motion.fit import SIDE, color_fit, fitted


def squares(size: int = 48, seed: int = 0) -> np.ndarray:
    """Patches of different colours with sharp edges, uint8 (size, size, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_NEAREST)


SWAP = np.array([[0, 0, 1], [0, 0.5, 0], [-0.8, 0, 0]], np.float32)


def recolored(frame: np.ndarray) -> np.ndarray:
    """The change, float32, by which red and blue take turns."""
    return (frame @ SWAP.T + (0, 40, 160) - frame).astype(np.float32)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def test_a_function_of_the_colors_is_found():
    frame = squares()
    fit = color_fit(recolored(frame), frame, radius=8)
    assert fit.share.min() > 0.99
    again = (fit.matrices * frame[..., None, :]).sum(-1) + fit.offset
    assert distance(again, recolored(frame)) < 1
    assert np.allclose(fit.matrices.mean((0, 1)), SWAP - np.eye(3), atol=0.02)


@pytest.mark.parametrize("frame", [np.full((48, 48, 3), 90, np.uint8), squares()[..., :1].repeat(3, axis=2)])
def test_colors_that_say_little_give_a_fit_all_the_same(frame):
    fit = color_fit(recolored(squares(seed=1)), frame, radius=8)
    assert all(np.isfinite(part).all() for part in fit) and np.abs(fit.matrices).max() < 10


@pytest.mark.parametrize("size", [48, 3 * SIDE])
def test_a_noisy_recoloring_becomes_that_of_the_frames_colors(size):
    frame = squares(size)
    noise = np.random.default_rng(1).normal(0, 6, (48, 48, 3)).astype(np.float32)
    change = recolored(frame) + cv2.resize(noise, (size, size), interpolation=cv2.INTER_NEAREST)
    assert distance(fitted(change, frame), recolored(frame)) < 0.65 * distance(change, recolored(frame))


def test_a_blurred_recoloring_gets_the_edges_of_a_larger_frame():
    frame = squares(3 * SIDE)
    blurred = cv2.blur(recolored(frame), (9, 9))
    assert distance(fitted(blurred, frame), recolored(frame)) < 0.75 * distance(blurred, recolored(frame))


def test_another_thing_is_left_as_it_is():
    frame = squares()
    change = np.random.default_rng(1).integers(-99, 100, frame.shape).astype(np.float32)
    assert distance(fitted(change, frame), change) < 0.01 * np.abs(change).mean()


def test_where_nothing_changed_nothing_does():
    frame, change = squares(), np.zeros((48, 48, 3), np.float32)
    change[:, :24] = recolored(frame)[:, :24]
    change[:, 40:] = 0.9
    after = fitted(change, frame)
    assert np.array_equal(after[:, 26:38], change[:, 26:38]) and np.allclose(after[:, 42:], 0.9)
