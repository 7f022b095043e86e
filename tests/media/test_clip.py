"""Which frames of a clip are edited, and that exactly those are read."""

import pytest

from editor.events import EditError
from editor.media import Probe, normalise, plan_interval, read_clip, read_thumbnails
from tests.media.footage import AAC, COUNTING, H264, TONE, ffmpeg, lavfi, moving, numbers, talking

SOURCE = Probe(seconds=8.0, fps=10.0, size=(64, 48), frames=80, has_audio=False)


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """Ten frames at 10 a second, each of which tells its number, with sound."""
    folder = tmp_path_factory.mktemp("counting")
    raw = talking(folder / "raw.mp4", "-g", "5", source=COUNTING)
    normalise(raw, folder / "clip.mp4")
    return folder / "clip.mp4"


def test_default_is_eight_frames_a_second_from_the_start() -> None:
    interval = plan_interval(SOURCE, 0.0, 2.0, None, 16)
    assert interval.indices == (0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18)
    assert (interval.fps, interval.duration, interval.notes) == (8.0, 2.0, ())


def test_a_slower_source_keeps_its_own_rate() -> None:
    slow = Probe(seconds=2.0, fps=5.0, size=(64, 48), frames=10, has_audio=False)
    assert plan_interval(slow, 0.0, None, None, 16).indices == tuple(range(10))


@pytest.mark.parametrize(
    ("start", "end", "fps"), [(0.0, 1.03, 8.0), (0.55, 2.0, 7.0), (7.99, 8.0, 3.0), (1.0, 1.05, None)]
)
def test_frames_over_rate_is_the_duration(start, end, fps) -> None:
    interval = plan_interval(SOURCE, start, end, fps, 16)
    assert len(interval.indices) / interval.fps == pytest.approx(end - start, rel=1e-12)  # float division only
    assert list(interval.indices) == sorted(interval.indices)
    assert interval.indices[0] == int(start * 10 + 1e-9)


def test_without_an_end_the_clip_is_edited_as_far_as_the_frames_go_and_that_is_said() -> None:
    interval = plan_interval(SOURCE, 1.0, None, None, 16)
    assert (interval.start, interval.end, interval.fps) == (1.0, 3.0, 8.0)
    assert interval.notes == ("Edited from 1 s to 3 s of 8 s: 16 frames at 8 a second is the most that was asked for.",)


def test_with_an_end_the_rate_falls_until_the_frames_cover_the_interval_and_that_is_said() -> None:
    interval = plan_interval(SOURCE, 0.0, 8.0, None, 16)
    assert (interval.end, interval.fps, interval.indices) == (8.0, 2.0, tuple(range(0, 80, 5)))
    assert interval.notes == ("Edited at 2 frames per second, so that 16 frames cover 8 s.",)


def test_with_an_end_and_a_rate_too_many_frames_are_refused() -> None:
    with pytest.raises(EditError, match=r"8 s at 8 frames per second is 64 frames; the limit is 16.* at most 2 s"):
        plan_interval(SOURCE, 0.0, 8.0, 8.0, 16)


def test_more_frames_a_second_than_there_are_is_said() -> None:
    interval = plan_interval(SOURCE, 0.0, 1.0, 25.0, 16)
    assert interval.fps == 10.0
    assert interval.notes == ("Edited at 10 frames per second, not 25: the clip has no more.",)


def test_an_end_within_a_frame_of_the_clips_end_is_the_clips_end() -> None:
    assert plan_interval(SOURCE, 6.0, 8.09, None, 16).end == 8.0  # a form shows 8.1 for a clip of 8.06 s


@pytest.mark.parametrize(
    ("start", "end", "fps", "frames", "words"),
    [
        (2.0, 2.0, None, 16, "from 2 s to 2 s is empty"),
        (3.0, 2.0, None, 16, "is empty"),
        (-1.0, 2.0, None, 16, "must begin at 0 s or later"),
        (8.0, None, None, 16, "begins at 8 s, but the clip is 8 s long"),
        (0.0, 9.0, None, 16, "ends at 9 s, but the clip is 8 s long"),
        (float("nan"), None, None, 16, "must be numbers of seconds"),
        (0.0, float("inf"), None, 16, "must be numbers of seconds"),
        (0.0, 1.0, 0.0, 16, "frames per second cannot be edited"),
        (0.0, 1.0, float("nan"), 16, "frames per second cannot be edited"),
        (0.0, 1.0, None, 0, "at least 1 is needed"),
    ],
)
def test_impossible_intervals_are_refused_in_words(start, end, fps, frames, words) -> None:
    with pytest.raises(EditError, match=words):
        plan_interval(SOURCE, start, end, fps, frames)


@pytest.mark.parametrize(
    ("start", "end", "fps", "expected"),
    [
        (0.0, None, 10.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (0.3, 0.6, 10.0, [3, 4, 5]),
        (0.7, 1.0, 5.0, [7, 8]),
        (0.95, None, None, [9]),
        (0.0, 1.0, 2.0, [0, 5]),
    ],
)
def test_exactly_the_planned_frames_are_read(counting, start, end, fps, expected) -> None:
    clip = read_clip(counting, start, end, fps)
    assert numbers(clip.frames) == expected
    assert clip.frames.shape[1:] == (48, 64, 3)
    assert len(clip.frames) / clip.fps == pytest.approx(clip.duration)


def test_a_clip_says_where_it_comes_from(counting, tmp_path) -> None:
    clip = read_clip(counting, 0.2, 0.6)
    assert (clip.start, clip.end, clip.source_fps, clip.source_seconds) == (0.2, 0.6, 10.0, 1.0)
    assert clip.source_size == (64, 48)
    assert clip.audio == counting
    moving(tmp_path / "raw.mp4")
    normalise(tmp_path / "raw.mp4", tmp_path / "silent.mp4")
    assert read_clip(tmp_path / "silent.mp4").audio is None


def test_thumbnails_are_the_frames_that_will_be_used(counting) -> None:
    small, interval = read_thumbnails(counting, 0.0, 1.0, 5.0, height=24)
    assert small.shape == (5, 24, 32, 3)
    assert numbers(small) == list(interval.indices) == [0, 2, 4, 6, 8]


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
