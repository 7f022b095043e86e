"""Metrics against hand-computed cases, against scikit-image, and against what they are meant to tell apart."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from editor.demo.world import Scene
from editor.evaluation.metrics import (
    METRICS,
    color_error,
    identified,
    measure,
    sharpness,
    ssim,
    temporal_error,
    warp_error,
)
from editor.evaluation.tasks import rendered
from editor.media import psnr
from editor.media.compose import EQUAL_PSNR as EQUAL

GRAY = np.full((3, 16, 16, 3), 100, np.uint8)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
    return np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255).astype(np.uint8), truth


def moving(frames=4, step=2, size=48):
    """A smooth texture that moves `step` whole pixels to the left per frame."""
    y, x = np.mgrid[0:size, 0 : size + step * frames].astype(np.float32)
    wide = 128 + 60 * np.sin(x / 3.1) * np.cos(y / 4.3) + 40 * np.sin(x / 7.7 + y / 5.1)
    wide = np.repeat(wide[..., None], 3, axis=2).astype(np.uint8)
    return np.stack([wide[:, i * step : i * step + size] for i in range(frames)])


def test_psnr_of_a_constant_difference():
    assert psnr(GRAY + np.uint8(10), GRAY) == pytest.approx(10 * math.log10(255**2 / 100))
    assert psnr(GRAY, GRAY) == EQUAL


def test_psnr_counts_the_mask_alone():
    edit, mask = GRAY.copy(), np.zeros(GRAY.shape[:3], bool)
    edit[:, :4] += 20
    mask[:, :8] = True  # half of it differs by 20: mean square 200
    assert psnr(edit, GRAY, mask) == pytest.approx(10 * math.log10(255**2 / 200))
    assert psnr(edit, GRAY, ~mask) == EQUAL
    assert psnr(edit, GRAY, mask & False) is None


def test_psnr_is_scikit_images(pair):
    edit, truth = pair
    assert psnr(edit, truth) == pytest.approx(peak_signal_noise_ratio(truth, edit, data_range=255))


def test_ssim_is_scikit_images(pair):
    edit, truth = pair
    theirs = [
        structural_similarity(
            a, b, channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(edit, truth, strict=True)
    ]
    assert ssim(edit, truth) == pytest.approx(np.mean(theirs))
    assert ssim(edit, truth, np.ones(truth.shape[:3], bool)) == pytest.approx(np.mean(theirs))


def test_ssim_looks_at_the_mask():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, (1, 48, 48, 3), dtype=np.uint8)
    edit, far = truth.copy(), np.zeros((1, 48, 48), bool)
    edit[:, :, :12] = 0
    far[:, :, 24:] = True  # farther from the change than half the window
    assert ssim(edit, truth, far) == pytest.approx(1)
    assert ssim(edit, truth, ~far) < 0.8


def test_sharpness_by_hand():
    truth = np.zeros((1, 4, 4, 3), np.uint8)
    truth[:, :, 2:] = 100  # one edge
    assert sharpness(truth // 2, truth) == pytest.approx(0.25)
    assert sharpness(truth + np.uint8(50), truth) == pytest.approx(1), "how bright it is does not matter"
    left = np.zeros((1, 4, 4), bool)
    left[:, :, :2] = True
    assert sharpness(truth, truth, left) is None, "flat where it is asked for"
    assert sharpness(truth, truth, left & False) is None
    truth[:, 0, 0], edit = 60, truth.copy()
    edit[:, 0, 0] = 30
    edit[:, :, 2:] = 255  # outside the mask
    assert sharpness(edit, truth, left) == pytest.approx(0.25)


def test_blur_and_noise_are_seen_by_sharpness():
    truth = moving(size=96)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in truth])
    noisy = np.clip(truth + np.random.default_rng(0).normal(0, 20, truth.shape), 0, 255).astype(np.uint8)
    assert sharpness(blurred, truth) < 0.75 and sharpness(noisy, truth) > 1.5


def test_color_error_is_ciede2000s():
    assert color_error(GRAY, GRAY) == 0
    black, white = np.zeros_like(GRAY), np.full_like(GRAY, 255)
    assert color_error(white, black) == pytest.approx(100, abs=0.1)  # from L 0 to L 100
    half = GRAY.copy()
    half[:, :8] = 0
    top = np.zeros(GRAY.shape[:3], bool)
    top[:, :8] = True
    assert color_error(half, GRAY) == pytest.approx(color_error(half, GRAY, top) / 2)
    assert color_error(half, GRAY, ~top) == 0 and color_error(half, GRAY, top & False) is None


@pytest.mark.parametrize("color", ["red", "blue", "green", "yellow", "purple"])
def test_a_washed_out_color_is_a_color_error(color):
    truth, touched, _ = rendered(Scene("car", color, "road", "plain", 20_000_000), 2, 96)
    gray = truth.mean(-1, keepdims=True)
    washed = ((truth + gray) / 2).astype(np.uint8)
    brighter = np.clip(truth.astype(int) + 4, 0, 255).astype(np.uint8)
    assert color_error(washed, truth, touched) > 5 > 2.5 > color_error(brighter, truth, touched)


def test_a_constant_error_is_no_temporal_error():
    assert temporal_error(moving() // 2 + np.uint8(30), moving() // 2) == 0


def test_temporal_error_of_flicker():
    edit = GRAY.copy()
    edit[1] += 12  # differences +12, -12 where the truth has none
    assert temporal_error(edit, GRAY) == pytest.approx(12)
    assert temporal_error(GRAY[:1], GRAY[:1]) is None


def test_warp_error_follows_the_motion():
    truth = moving()
    # the flow is estimated and read between pixels: less than two levels of a texture that spans 200
    assert warp_error(truth, truth) < 2
    still = np.repeat(truth[:1], len(truth), axis=0)
    assert warp_error(still, truth) > 10


def test_warp_error_sees_flicker_whatever_the_colour():
    truth = moving() // 2
    edit = truth.copy()
    edit[1::2] += 30  # every step of the edit changes by 30 where the truth does not
    assert warp_error(edit, truth) == pytest.approx(30, abs=1)  # a level for the estimated flow
    assert warp_error(truth[:1], truth[:1]) is None


def test_the_nearest_answer_is_named():
    answers = {"dark": GRAY - np.uint8(50), "same": GRAY, "light": GRAY + np.uint8(50)}
    assert identified(GRAY + np.uint8(20), answers) == "same"
    assert identified(GRAY + np.uint8(30), answers) == "light"


@pytest.mark.parametrize("place", ["road", "snow", "desert", "beach", "grass", "forest", "city", "space"])
def test_a_place_is_recognised_by_other_scenery_of_its_kind(place):
    """A model cannot know where the true clouds are: the same place from another seed must do."""
    for seed in range(20_000_000, 20_000_003):
        scene = Scene("car", "red", place, "plain", seed)
        truth, _, opaque = rendered(scene, 2, 96)
        other, _, _ = rendered(replace(scene, seed=seed + 1000), 2, 96)
        edit = np.where(opaque[..., None], truth, other)
        places = ("road", "snow", "desert", "beach", "grass", "forest", "city", "space")
        answers = {name: rendered(replace(scene, place=name), 2, 96)[0] for name in places}
        assert identified(edit, answers) == place


def test_measure_leaves_out_parts_that_are_not_there():
    values = measure(GRAY + np.uint8(10), GRAY, None, None)
    assert values["unchanged_psnr"] is None and values["changed_ssim"] is None
    assert values["psnr"] == pytest.approx(28.13, abs=0.01)
    assert set(values) == set(METRICS) - {"classified"}


def test_sharpness_and_color_are_of_the_part_that_must_change(pair):
    edit, truth = pair
    changed = np.zeros(truth.shape[:3], bool)
    changed[:, 4:20, 4:20] = True
    values = measure(edit, truth, ~changed, changed)
    assert values["sharpness"] == sharpness(edit, truth, changed) != sharpness(edit, truth)
    assert values["color_error"] == color_error(edit, truth, changed)
    look = measure(edit, truth, None, None)
    assert look["sharpness"] == sharpness(edit, truth) and look["color_error"] == color_error(edit, truth)
