"""An edit of the keyframes, carried to the frames between them: on drawn scenes, and on real clips, where a filter
stands for the edit so that every frame has a right answer."""

import os
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from editor.motion import Change, Keyframes, agreed, carried, choose_keyframes, difference, spread
from editor.motion.carry import added
from editor.motion.flow import match
from tests.motion.scenes import inverted_red, psnr, sliding, texture


def carry(clip: np.ndarray, edit: np.ndarray, keyframes: Keyframes) -> list:
    return list(carried(clip, keyframes, (Change(0, clip[i], difference(edit[i], clip[i])) for i in keyframes.indices)))


def test_an_edit_follows_the_clips_motion():
    clip = sliding(13, step=2.0)
    edit = inverted_red(clip)
    result = carry(clip, edit, Keyframes((0, 6, 12), (0, 0, 0), 13))
    assert [i for i, c in enumerate(result) if c.keyframe] == [0, 6, 12]
    between = [i for i in range(13) if i % 6]
    held = np.mean([psnr(edit[i // 6 * 6], edit[i]) for i in between])
    moved = np.mean([psnr(result[i].frame, edit[i]) for i in between])
    assert moved > 30 > held + 8  # a resampled texture against one that stands still
    assert max(c.unfollowed for c in result) < 0.02


def test_keyframes_come_out_exactly_as_they_were_edited_unless_they_are_fitted():
    clip = sliding(7)
    edit = inverted_red(clip)
    result = carry(clip, edit, Keyframes((0, 3, 6), (0, 0, 0), 7))
    assert all(np.array_equal(result[i].frame, edit[i]) for i in (0, 3, 6))


def test_an_edit_that_changes_nothing_gives_the_clip_back():
    clip = sliding(7)
    result = carry(clip, clip, Keyframes((0, 3, 6), (0, 0, 0), 7))
    assert all(np.array_equal(c.frame, frame) for c, frame in zip(result, clip, strict=True))


def test_nothing_is_carried_over_a_cut():
    first, second = sliding(6, seed=1), sliding(6, seed=2)
    clip = np.concatenate([first, second])
    edit = np.concatenate([first, np.clip(second.astype(int) + 90, 0, 255).astype(np.uint8)])  # only the second shot
    keyframes = choose_keyframes(clip, stride=6)
    result = carry(clip, edit, keyframes)
    assert all(np.array_equal(result[i].frame, clip[i]) for i in range(6))
    assert min(psnr(result[i].frame, edit[i]) for i in range(6, 12)) > 30


def test_what_no_keyframe_shows_is_counted():
    clip = np.repeat(texture(1).astype(np.uint8)[None], 3, axis=0)
    clip[1, :, :64] = texture(9).astype(np.uint8)[:, :64]
    result = carry(clip, clip, Keyframes((0, 2), (0, 0), 3))
    assert 0.25 < result[1].unfollowed < 0.6  # half of the frame; some of it matches by chance


def test_the_clips_own_size_may_be_larger_than_the_flows():
    clip = sliding(3, step=4.0, height=120, width=640)
    edit = inverted_red(clip)
    result = carry(clip, edit, Keyframes((0, 2), (0, 0), 3))
    assert result[1].frame.shape == clip[1].shape and psnr(result[1].frame, edit[1]) > 28


def test_one_frame_and_two_frames():
    clip = sliding(2)
    edit = inverted_red(clip)
    for frames in (1, 2):
        result = carry(clip[:frames], edit, Keyframes(tuple(range(frames)), (0,) * frames, frames))
        assert [np.array_equal(c.frame, e) for c, e in zip(result, edit, strict=False)] == [True] * frames


def test_frames_that_run_out_are_an_error():
    clip = sliding(4)
    with pytest.raises(ValueError, match="end before keyframe 6"):
        list(carried(clip, Keyframes((0, 6), (0, 0), 7), [Change(0, clip[0], np.zeros(clip[0].shape, np.float32))] * 2))


def test_differences_are_rounded_into_range():
    frame = np.array([[[250, 5, 100]]], np.uint8)
    assert added(frame, np.array([[[20, -20, 0.6]]], np.float32)).tolist() == [[[255, 0, 101]]]


def changes(clip: np.ndarray, edit: np.ndarray, shots: list[int]) -> list[Change]:
    return [Change(s, c, difference(e, c)) for s, c, e in zip(shots, clip, edit, strict=True)]


def test_agreement_leaves_an_edit_that_agrees_and_calms_one_that_flickers():
    clip = sliding(5, step=2.0)
    steady = np.full(clip.shape, 40, np.float32)
    same = [c.difference for c in agreed([Change(0, c, d) for c, d in zip(clip, steady, strict=True)], radius=1)]
    assert len(same) == 5 and max(np.abs(d - 40).max() for d in same) < 1e-3
    flicker = steady + np.array([20, -20, 20, -20, 20], np.float32)[:, None, None, None]
    calm = [c.difference for c in agreed([Change(0, c, d) for c, d in zip(clip, flicker, strict=True)], radius=1)]
    assert np.std([d.mean() for d in calm]) < 0.5 * np.std([d.mean() for d in flicker])


def test_neighbours_weigh_as_much_as_they_can_be_followed():
    clip = sliding(3, step=2.0)
    clip[2, :, 40:70] = texture(9).astype(np.uint8)[:, 40:70]
    given = changes(clip, inverted_red(clip), [0, 0, 0])
    total, weight = given[1].difference.copy(), 1.0
    for other in (given[0], given[2]):
        found = match(clip[1], other.frame)
        total += found.confidence[..., None] * found.warped(other.difference)
        weight = weight + found.confidence[..., None]
    mean = list(agreed(given, radius=1))[1].difference
    assert np.abs(mean - total / weight).max() < 0.01


def test_an_edit_is_spread_with_agreement_and_fit_or_with_neither():
    clip = sliding(5, step=2.0)
    given, keyframes = changes(clip[::2], inverted_red(clip[::2]), [0, 0, 0]), Keyframes((0, 2, 4), (0, 0, 0), 5)
    plain, agreeing = carried(clip, keyframes, given), carried(clip, keyframes, agreed(given, 1), to_colors=True)
    for agreement, wanted in ((0, plain), (1, agreeing)):
        for one, other in zip(spread(clip, keyframes, given, agreement), wanted, strict=True):
            assert np.array_equal(one.frame, other.frame)


def test_the_change_of_every_frame_is_fitted_to_it_when_asked_for():
    clip = sliding(3)
    given = [
        change._replace(difference=cv2.blur(change.difference, (2, 2)))  # half a pixel beside its place
        for change in changes(clip[[0, 2]], inverted_red(clip[[0, 2]]), [0, 0])
    ]
    keyframes = Keyframes((0, 2), (0, 0), 3)
    plain, fit = ([c.frame for c in carried(clip, keyframes, given, to_colors=asked)] for asked in (False, True))
    for frame, beside, wanted in zip(fit, plain, inverted_red(clip), strict=True):
        assert np.abs(frame - wanted.astype(float)).mean() < 0.8 * np.abs(beside - wanted.astype(float)).mean()


def test_agreement_with_radius_zero_changes_nothing():
    clip = sliding(3)
    given = changes(clip, inverted_red(clip), [0, 0, 0])
    for before, after in zip(given, agreed(given, radius=0), strict=True):
        assert np.array_equal(before.difference, after.difference)


def test_agreement_stays_within_a_shot():
    clip = np.repeat(texture(1).astype(np.uint8)[None], 4, axis=0)
    levels = np.float32([10, 10, 90, 90])[:, None, None, None] * np.ones(clip.shape, np.float32)
    given = [Change(shot, c, d) for shot, c, d in zip([0, 0, 1, 1], clip, levels, strict=True)]
    means = [float(c.difference.mean()) for c in agreed(given, radius=2)]
    assert means == pytest.approx([10, 10, 90, 90], rel=1e-4)  # cv2.blendLinear takes away 0.00001 of them


def test_a_keyframe_sees_its_neighbours_up_to_the_radius():
    clip = np.repeat(texture(1).astype(np.uint8)[None], 5, axis=0)
    one = np.zeros(clip.shape, np.float32)
    one[2] = 60.0
    given = [Change(0, c, d) for c, d in zip(clip, one, strict=True)]
    # equal frames are sure, so every neighbour weighs as much as the keyframe itself; the ends have fewer of them
    assert [float(c.difference.mean()) for c in agreed(given, radius=1)] == pytest.approx([0, 20, 20, 20, 0], abs=0.1)
    assert [float(c.difference.mean()) for c in agreed(given, radius=2)] == pytest.approx([20, 15, 12, 15, 20], abs=0.1)


def test_a_negative_radius_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        list(agreed([], radius=-1))


CLIPS = Path(os.environ.get("EDITOR_TEST_CLIPS", Path(__file__).parents[3] / "shared" / "data"))


def hue(frame: np.ndarray) -> np.ndarray:
    turned = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    turned[..., 0] = (turned[..., 0].astype(int) + 60) % 180
    return cv2.cvtColor(turned, cv2.COLOR_HSV2RGB)


FILTERS = {
    "hue": hue,
    "poster": lambda frame: frame // 24 * 24 + 12,
    "stylization": cv2.stylization,
    "pencil": lambda frame: cv2.pencilSketch(frame)[1],
}


def frames_of(name: str, first: int, count: int, side: int) -> np.ndarray:
    """uint8 (count, side, side, 3) of a square clip, RGB."""
    if not (CLIPS / name).exists():
        pytest.skip(f"no {name} in {CLIPS}; set EDITOR_TEST_CLIPS to its folder")
    capture = cv2.VideoCapture(str(CLIPS / name))
    read = (capture.read()[1] for _ in range(first + count))
    small = (cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA) for f in islice(read, first, None))
    return np.stack([cv2.cvtColor(f, cv2.COLOR_BGR2RGB) for f in small])


def between(clip: np.ndarray, name: str, stride: int, agreement: int = 0) -> tuple[float, float]:
    """Mean PSNR in dB of the frames between every `stride`-th: spread, and with the keyframe before held."""
    edit = np.stack([FILTERS[name](frame) for frame in clip])
    indices = tuple(range(0, len(clip), stride))
    given = changes(clip[::stride], edit[::stride], [0] * len(indices))
    result = list(spread(clip, Keyframes(indices, (0,) * len(indices), len(clip)), given, agreement))
    places = [i for i, c in enumerate(result) if not c.keyframe]
    moved = np.mean([psnr(result[i].frame, edit[i]) for i in places])
    return float(moved), float(np.mean([psnr(edit[i // stride * stride], edit[i]) for i in places]))


# Measured 46.8 and 35.7 dB; 1.5 dB below for other versions of OpenCV and its codecs.
@pytest.mark.parametrize(("name", "least"), [("hue", 45.3), ("poster", 34.2)])
def test_a_few_frames_of_a_real_clip(name, least):
    moved, held = between(frames_of("car-turn.mp4", 0, 7, 192), name, 3)
    assert moved > least and moved > held + 5


# Measured on 31 frames of 384 pixels, every 3rd / 6th edited; held 0.7 dB below for other versions of OpenCV. As
# edited: car 45.5 / 43.7, 33.8 / 33.0, 29.2 / 28.1, 26.5 / 25.3; rabbit 51.9 / 50.2, 40.6 / 39.9, 32.8 / 31.6, 31.0 /
# 30.0 dB. Agreed and fitted: 46.9 / 45.6, 33.6 / 33.1, 28.3 / 27.5, 26.2 / 25.1; 50.7 / 49.9, 40.6 / 39.9, 32.1 / 31.1,
# 30.0 / 29.1. The car's pencil sketch was 29.2 / 28.0 when first measured, with the same flow; why is not known.
FIGURES = {
    ("car-turn.mp4", 0, 0): ((44.8, 43.0), (33.1, 32.3), (28.5, 27.4), (25.8, 24.6)),
    ("car-turn.mp4", 0, 1): ((46.2, 44.9), (32.9, 32.4), (27.6, 26.8), (25.5, 24.4)),
    ("rabbit-watermelon.mp4", 30, 0): ((51.2, 49.5), (39.9, 39.2), (32.1, 30.9), (30.3, 29.3)),
    ("rabbit-watermelon.mp4", 30, 1): ((50.0, 49.2), (39.9, 39.2), (31.4, 30.4), (29.3, 28.4)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("clip", "first", "agreement"), FIGURES)
def test_the_figures_of_the_design(clip, first, agreement):
    frames = frames_of(clip, first, 31, 384)
    for name, least in zip(FILTERS, FIGURES[clip, first, agreement], strict=True):
        found = [between(frames, name, stride, agreement)[0] for stride in (3, 6)]
        assert all(np.greater(found, least)), (name, found)
