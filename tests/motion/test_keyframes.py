"""How a clip moves, and which of its frames are edited."""

import numpy as np
import pytest

from editor.motion import choose_keyframes
from editor.motion.flow import FOLLOWED, match, reduced
from editor.motion.keyframes import Keyframes
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


def test_a_quiet_shot_has_keyframes_at_the_rate_asked_for():
    found = choose_keyframes(sliding(25, step=1.0), stride=3)
    assert found.indices == tuple(range(0, 25, 3)) and set(found.shots) == {0} and found.frames == 25
    assert choose_keyframes(sliding(25, step=1.0), stride=6).indices == (0, 6, 12, 18, 24)


def test_the_last_frame_is_a_keyframe_wherever_it_falls():
    assert choose_keyframes(sliding(24, step=1.0), stride=6).indices == (0, 6, 12, 18, 23)


def test_a_stride_of_one_edits_every_frame():
    assert choose_keyframes(sliding(5, step=1.0), stride=1) == Keyframes.every(5)


def test_a_cut_has_keyframes_on_both_sides():
    clip = np.concatenate([sliding(10, step=1.0, seed=1), sliding(11, step=1.0, seed=2)])
    found = choose_keyframes(clip, stride=6)
    assert found.indices == (0, 6, 9, 10, 16, 20) and found.shots == (0, 0, 0, 1, 1, 1)


def test_a_slideshow_is_all_cuts():
    clip = np.stack([texture(seed).astype(np.uint8) for seed in range(6)])
    found = choose_keyframes(clip, stride=6)
    assert found.indices == (0, 1, 2, 3, 4, 5) and found.shots == (0, 1, 2, 3, 4, 5)


def test_a_slideshow_of_stills_has_two_keyframes_a_still_and_no_more():
    clip = np.concatenate([np.repeat(texture(seed).astype(np.uint8)[None], 5, axis=0) for seed in range(3)])
    found = choose_keyframes(clip, stride=6)
    assert found.indices == (0, 4, 5, 9, 10, 14) and found.shots == (0, 0, 1, 1, 2, 2)


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_interrupts_no_shot(length):
    clip = np.repeat(texture(1).astype(np.uint8)[None], 13, axis=0)
    clip[4 : 4 + length] = 255
    found = choose_keyframes(clip, stride=6)
    assert set(found.shots) == {0}
    assert set(range(4, 4 + length)) & set(found.indices)  # nothing else shows what the flash shows


def test_a_frozen_clip_needs_the_base_rate_only():
    clip = np.repeat(texture(1).astype(np.uint8)[None], 13, axis=0)
    assert choose_keyframes(clip, stride=6).indices == (0, 6, 12)


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_clips(frames):
    found = choose_keyframes(sliding(frames), stride=6)
    assert found.indices == tuple(range(frames)) and set(found.shots) == {0}


def test_what_appears_between_keyframes_only_is_a_keyframe():
    clip = np.repeat(texture(1).astype(np.uint8)[None], 7, axis=0)
    clip[3, 20:60, 30:90] = (255, 0, 0)
    assert choose_keyframes(clip, stride=6).indices == (0, 3, 6)


def test_frames_are_taken_one_by_one():
    taken = []

    def frames():
        for i, frame in enumerate(sliding(13, step=1.0)):
            taken.append(i)
            yield frame

    assert choose_keyframes(frames(), stride=6).indices == (0, 6, 12) and taken == list(range(13))


def test_a_clip_without_frames_and_a_stride_below_one_are_refused():
    with pytest.raises(ValueError, match="without frames"):
        choose_keyframes([], stride=6)
    with pytest.raises(ValueError, match="1 or more"):
        choose_keyframes(sliding(2), stride=0)


def test_where_not_all_are_allowed_the_least_followed_come_first():
    clip = np.repeat(texture(1).astype(np.uint8)[None], 13, axis=0)
    clip[3, 20:40, 30:90] = (255, 0, 0)
    clip[9, 20:80, 30:90] = (255, 0, 0)
    assert choose_keyframes(clip, stride=6).indices == (0, 3, 6, 9, 12)
    found = choose_keyframes(clip, stride=6, most=4)
    assert (found.indices, found.frames, found.left_out) == ((0, 6, 9, 12), 13, 1)


def test_where_too_few_are_allowed_they_end_early():
    found = choose_keyframes(sliding(13, step=1.0), stride=3, most=3)
    assert (found.indices, found.frames, found.left_out) == ((0, 3, 6), 7, 2)
