"""Which frames of a clip are edited, and that exactly those are read."""

from pathlib import Path

import numpy as np
import pytest

from editor.events import EditError
from editor.media import Probe, normalise, plan_interval, read_clip, read_thumbnails, spread_frames, write_video
from editor.media.clip import stream_frames
from tests.media.footage import AAC, COUNTING, H264, TONE, ffmpeg, lavfi, moving, numbers, talking

SOURCE = Probe(seconds=8.0, fps=10.0, size=(64, 48), frames=80, has_audio=False)


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """Ten frames at 10 a second, each of which tells its number, with sound."""
    folder = tmp_path_factory.mktemp("counting")
    raw = talking(folder / "raw.mp4", "-g", "5", source=COUNTING)
    normalise(raw, folder / "clip.mp4")
    return folder / "clip.mp4"


def test_all_frames_of_the_interval_come_back_and_eight_keyframes_a_second_are_edited() -> None:
    source = Probe(seconds=4.0, fps=24.0, size=(64, 48), frames=96, has_audio=False)
    interval = plan_interval(source, 0.0, 1.0)
    assert (interval.first, interval.count, interval.fps, interval.stride) == (0, 24, 24.0, 3)
    assert interval.keyframes == (0, 3, 6, 9, 12, 15, 18, 21, 23)
    assert (interval.start, interval.end, interval.notes) == (0.0, 1.0, ())


def test_a_slower_source_is_edited_frame_by_frame() -> None:
    slow = Probe(seconds=2.0, fps=5.0, size=(64, 48), frames=10, has_audio=False)
    assert plan_interval(slow).keyframes == tuple(range(10))


def test_an_uneven_rate_keeps_whole_frames() -> None:
    source = Probe(seconds=200 / 59.94, fps=59.94, size=(64, 48), frames=200, has_audio=False)
    interval = plan_interval(source, 1.0, 2.0)
    assert (interval.first, interval.count, interval.stride) == (59, 60, 7)
    assert interval.end - interval.start == pytest.approx(60 / 59.94)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.03), (0.55, 2.0), (7.99, 8.0), (1.0, 1.05)])
def test_an_interval_is_what_was_asked_for_to_half_a_frame(start, end) -> None:
    interval = plan_interval(SOURCE, start, end)
    assert interval.count == max(1, round((end - start) * 10))
    assert interval.first == int(start * 10 + 1e-9) and interval.keyframes[-1] == interval.first + interval.count - 1


def test_without_an_end_the_clip_is_edited_as_far_as_the_keyframes_go_and_that_is_said() -> None:
    interval = plan_interval(SOURCE, 1.0, None, 5.0, 16)
    assert (interval.start, interval.count, interval.stride, len(interval.keyframes)) == (1.0, 31, 2, 16)
    said = "Edited from 1 s to 4.1 s of 8 s: 16 keyframes is the limit that was set."
    assert interval.notes == (said,)


def test_with_an_end_keyframes_move_apart_until_they_cover_the_interval_and_that_is_said() -> None:
    interval = plan_interval(SOURCE, 0.0, 8.0, 8.0, 16)
    assert (interval.count, interval.stride, len(interval.keyframes)) == (80, 6, 15)
    assert interval.notes == ("A keyframe every 0.6 s, so that 16 of them cover 8 s.",)


def test_an_end_within_a_frame_of_the_clips_end_is_the_clips_end() -> None:
    assert plan_interval(SOURCE, 6.0, 8.09).end == 8.0  # a form shows 8.1 for a clip of 8.06 s


@pytest.mark.parametrize(
    ("start", "end", "key_fps", "keyframes", "words"),
    [
        (2.0, 2.0, 8.0, 16, "from 2 s to 2 s is empty"),
        (3.0, 2.0, 8.0, 16, "is empty"),
        (-1.0, 2.0, 8.0, 16, "must begin at 0 s or later"),
        (8.0, None, 8.0, 16, "begins at 8 s, but the clip is 8 s long"),
        (0.0, 9.0, 8.0, 16, "ends at 9 s, but the clip is 8 s long"),
        (float("nan"), None, 8.0, 16, "must be numbers of seconds"),
        (0.0, float("inf"), 8.0, 16, "must be numbers of seconds"),
        (0.0, 1.0, 0.0, 16, "keyframes per second cannot be edited"),
        (0.0, 1.0, float("nan"), 16, "keyframes per second cannot be edited"),
        (0.0, 1.0, 8.0, 0, "at least 1 is needed"),
        (0.0, 1.0, 8.0, 1, "need 2 keyframes or more"),
    ],
)
def test_impossible_intervals_are_refused_in_words(start, end, key_fps, keyframes, words) -> None:
    with pytest.raises(EditError, match=words):
        plan_interval(SOURCE, start, end, key_fps, keyframes)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0.0, None, list(range(10))), (0.3, 0.6, [3, 4, 5]), (0.95, None, [9]), (0.7, 1.0, [7, 8, 9])],
)
def test_exactly_the_planned_frames_are_read(counting, start, end, expected) -> None:
    clip = read_clip(counting, start, end, 10.0)
    assert numbers(clip.frames) == numbers(np.stack(list(clip.every_frame()))) == expected
    assert clip.frames.shape[1:] == (48, 64, 3)
    assert clip.count / clip.fps == pytest.approx(clip.duration)


def test_keyframes_are_read_where_the_clip_needs_them(counting) -> None:
    clip = read_clip(counting, key_fps=2.0)
    assert set(clip.keyframes.indices) >= {0, 5, 9}  # levels that rise by 15 a frame may ask for more
    assert numbers(clip.frames) == list(clip.keyframes.indices)
    assert numbers(np.stack(list(clip.every_frame()))) == list(range(10))


def slideshow(path) -> Path:
    """Twelve pictures that have nothing in common, 10 a second."""
    noise = np.random.default_rng(0)
    stills = noise.integers(0, 256, (12, 6, 8, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    write_video(stills, 10.0, path)
    return path


def test_a_clip_that_is_all_cuts_is_edited_as_far_as_keyframes_go_and_that_is_said(tmp_path) -> None:
    clip = read_clip(slideshow(tmp_path / "slides.mp4"), key_fps=1.0, max_frames=5)
    assert clip.keyframes.indices == (0, 1, 2, 3, 4) and clip.keyframes.shots == (0, 1, 2, 3, 4)
    assert clip.count == 5 and "the clip's cuts need more than 5 keyframes" in clip.notes[-1]


def test_an_interval_of_cuts_that_needs_too_many_keyframes_is_refused(tmp_path) -> None:
    with pytest.raises(EditError, match=r"needs 12 keyframes; the limit is 5, which is enough for 0\.5 s"):
        read_clip(slideshow(tmp_path / "slides.mp4"), 0.0, 1.2, 1.0, 5)


def test_a_clip_says_where_it_comes_from(counting, tmp_path) -> None:
    clip = read_clip(counting, 0.2, 0.6)
    assert (clip.start, clip.fps, clip.source_seconds) == (0.2, 10.0, 1.0) and clip.end == pytest.approx(0.6)
    assert clip.source_size == (64, 48)
    assert clip.audio == counting
    moving(tmp_path / "raw.mp4")
    normalise(tmp_path / "raw.mp4", tmp_path / "silent.mp4")
    assert read_clip(tmp_path / "silent.mp4").audio is None


def test_thumbnails_are_the_keyframes(counting) -> None:
    small, interval = read_thumbnails(counting, 0.0, 1.0, 5.0, height=24)
    assert small.shape == (6, 24, 32, 3)
    assert numbers(small) == list(interval.keyframes) == [0, 2, 4, 6, 8, 9]


def test_frames_are_spread_over_the_clip_or_a_part_of_it(counting) -> None:
    assert numbers(spread_frames(counting, 4)) == [0, 3, 6, 9]
    assert numbers(spread_frames(counting, 3, 24, 0.2, 0.7)) == [2, 4, 6]
    assert numbers(spread_frames(counting, 30)) == list(range(10))


def test_a_stream_that_is_left_early_ends_its_process(counting) -> None:
    frames = stream_frames(counting, 10.0, 2, 8, (64, 48))
    assert numbers(next(frames)[None]) == [2]
    frames.close()
    with pytest.raises(EditError, match="upload it again"):
        list(stream_frames(counting, 10.0, 5, 8, (64, 48)))


def test_colours_survive(tmp_path) -> None:
    """A matrix that is taken for another one turns these by 10 levels and more; coding alone costs 1 to 3."""
    for source, expected in (("0xC02020", (192, 32, 32)), ("0x20A040", (32, 160, 64))):
        raw = moving(tmp_path / "raw.mp4", source=f"color={source}:size=64x48:rate=10:duration=0.5")
        normalise(raw, tmp_path / "clip.mp4")
        mean = read_clip(tmp_path / "clip.mp4").frames.mean(axis=(0, 1, 2))
        assert mean == pytest.approx(expected, abs=4)


def test_a_file_that_vanished_is_an_error_in_words(counting, tmp_path) -> None:
    with pytest.raises(EditError, match="upload it again"):
        read_clip(tmp_path / "gone.mp4")


def test_long_sound_does_not_lengthen_the_clip(tmp_path) -> None:
    ffmpeg(*lavfi(COUNTING), *lavfi(TONE.replace("duration=1", "duration=3")), *H264, *AAC, tmp_path / "raw.mp4")
    normalise(tmp_path / "raw.mp4", tmp_path / "clip.mp4")
    assert read_clip(tmp_path / "clip.mp4").source_seconds == 1.0
