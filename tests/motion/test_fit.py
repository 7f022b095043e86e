"""What the colours of a frame explain of a change, and that the rest is left as it is."""

import cv2
import numpy as np
import pytest

from editor.motion.fit import CERTAINTY, FIT_SIDE, _inverse, color_fit, explained_share, fitted


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
    assert explained_share(fit.explained, fit.variance).min() > 0.99
    again = (fit.matrices * frame[..., None, :]).sum(-1) + fit.offset
    assert distance(again, recolored(frame)) < 1
    assert np.allclose(fit.matrices.mean((0, 1)), SWAP - np.eye(3), atol=0.02)


@pytest.mark.parametrize("frame", [np.full((48, 48, 3), 90, np.uint8), squares()[..., :1].repeat(3, axis=2)])
def test_colors_that_say_little_give_a_fit_all_the_same(frame):
    fit = color_fit(recolored(squares(seed=1)), frame, radius=8)
    assert all(np.isfinite(part).all() for part in fit) and np.abs(fit.matrices).max() < 1


def test_a_fit_is_believed_by_a_power_of_what_it_explains():
    assert explained_share(np.array([97.0, 72.0, 0.0]), np.array([97.0, 97.0, 0.0])).tolist() == [1, 0.75, 1]
    assert (0.95**CERTAINTY, 0.75**CERTAINTY) == pytest.approx((2 / 3, 0.1), abs=0.005)


def test_colors_that_are_nearly_grey_have_an_exact_inverse():
    grey = np.random.default_rng(0).normal(0, 100, (500, 1)) + np.random.default_rng(1).normal(0, 0.3, (500, 3))
    damped = (grey.T @ grey / 500 + 3 * np.eye(3)).astype(np.float32)
    assert np.allclose(_inverse(damped), np.linalg.inv(damped.astype(np.float64)), rtol=1e-5)


def test_the_same_change_everywhere_comes_back():
    """Of a frame that is neither square nor small."""
    frame, change = squares(4 * FIT_SIDE)[: 2 * FIT_SIDE], np.full((2 * FIT_SIDE, 4 * FIT_SIDE, 3), -20, np.float32)
    assert np.abs(fitted(change, frame) - change).max() < 0.01


def test_grain_of_a_large_frame_is_not_amplified():
    """A strong change along a weak edge: means of many pixels would let the fit take the grain for that edge."""
    size = 5 * FIT_SIDE
    inside = np.zeros((size, size, 1), bool)
    inside[size // 4 : -size // 4, size // 4 : -size // 4] = True
    grain = np.random.default_rng(0).normal(0, 4, (size, size, 3))
    frame = (np.where(inside, 118, 110) + grain).clip(0, 255).astype(np.uint8)
    change = np.where(inside, -60, 0).repeat(3, axis=2).astype(np.float32)
    assert np.std(fitted(change, frame) - change) < 2


@pytest.mark.parametrize("size", [48, 3 * FIT_SIDE])
def test_a_noisy_recoloring_becomes_that_of_the_frames_colors(size):
    frame = squares(size)
    noise = np.random.default_rng(1).normal(0, 6, (48, 48, 3)).astype(np.float32)
    change = recolored(frame) + cv2.resize(noise, (size, size), interpolation=cv2.INTER_NEAREST)
    assert distance(fitted(change, frame), recolored(frame)) < 0.65 * distance(change, recolored(frame))


def test_another_thing_is_left_as_it_is():
    frame = squares()
    y, x = np.mgrid[:48, :48] - 23.5
    shade = np.clip(1.5 - np.hypot(x, y) / 12, 0, 1)[..., None]
    blob = shade * (90, -60, 30)  # over patches of which it knows nothing
    noise = np.random.default_rng(1).integers(-99, 100, frame.shape)
    for change in (blob.astype(np.float32), noise.astype(np.float32)):
        assert distance(fitted(change, frame), change) < 0.1 * np.abs(change).mean()


def test_where_nothing_changed_nothing_does():
    frame, change = squares(), np.zeros((48, 48, 3), np.float32)
    change[:, :24] = recolored(frame)[:, :24]
    change[:, 40:] = 0.9
    after = fitted(change, frame)
    assert np.array_equal(after[:, 26:38], change[:, 26:38]) and np.allclose(after[:, 42:], 0.9)
