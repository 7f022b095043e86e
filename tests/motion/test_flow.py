import numpy as np
import pytest

from editor.motion.flow import FOLLOWED, match, reduced
from tests.motion.scenes import sliding, texture


@pytest.mark.parametrize("quick", [False, True])
def test_a_slide_is_measured_to_a_fraction_of_a_pixel(quick):
    here, there = sliding(2, step=3.0)
    found = match(here, there, quick=quick)
    inside = found.flow[8:-8, 12:-12]  # the left edge leaves the frame
    assert np.abs(np.median(inside[..., 0]) + 3) < 0.2 and np.abs(np.median(inside[..., 1])) < 0.1
    assert (found.confidence[8:-8, 12:-12] > FOLLOWED).mean() > 0.98


def test_what_leaves_the_frame_was_not_followed():
    here, there = sliding(2, step=20.0)
    lost = match(here, there).confidence < FOLLOWED
    assert lost[:, :16].mean() > 0.9 and lost[:, 32:-8].mean() < 0.1


def test_another_picture_cannot_be_followed():
    one, other = texture(1).astype(np.uint8), texture(2).astype(np.uint8)
    assert (match(one, other).confidence < FOLLOWED).mean() > 0.7


def test_a_picture_of_another_size_is_moved_in_proportion():
    here, there = sliding(2, step=4.0)
    large = np.repeat(np.repeat(there.astype(np.float32), 3, axis=0), 3, axis=1)
    moved = match(here, there).warped(large)
    expected = np.repeat(np.repeat(here.astype(np.float32), 3, axis=0), 3, axis=1)
    assert moved.shape == large.shape
    # interpolation between blocks of 3 costs some levels; an unmoved picture is 30 off
    assert np.abs(moved - expected)[24:-24, 36:-36].mean() < 6 < np.abs(large - expected).mean()


def test_equal_frames_stand_still_and_are_sure():
    frame = texture(3).astype(np.uint8)
    found = match(frame, frame)
    assert np.abs(found.flow).max() < 0.01 and found.confidence.min() > 0.99
    assert np.array_equal(found.warped(frame.astype(np.float32)).round(), frame)


def test_frames_too_small_to_search_in_stand_still():
    one, other = np.zeros((4, 9, 3), np.uint8), np.full((4, 9, 3), 200, np.uint8)
    found = match(one, other)
    assert not found.flow.any() and found.confidence.max() < FOLLOWED


def test_only_large_frames_are_reduced():
    assert reduced(np.zeros((90, 1280, 3), np.uint8)).shape == (36, 512, 3)
    small = np.zeros((90, 128, 3), np.uint8)
    assert reduced(small) is small


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        match(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 40, 3), np.uint8))
