"""What is written plays as long as it should, with its sound, and appears whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editor.events import EditError
from editor.media import AudioSpan, normalise, probe, read_clip, write_poster, write_preview, write_video
from editor.media.files import replacing
from editor.media.write import PREVIEW_BYTES
from tests.media.footage import COUNTING, duration_of, loudness, numbers, summary, talking


def counting(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Frame i carries its number, as `numbers` reads it."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = (((24 + 15 * np.arange(count)) * 255 / 219).round().astype(np.uint8))[:, None, None, None]
    return frames


@pytest.fixture(scope="module")
def beeping(tmp_path_factory) -> Path:
    """A second of picture whose sound is silent but from 0.5 s to 0.7 s."""
    folder = tmp_path_factory.mktemp("beeping")
    tone = "sine=frequency=440:duration=1,volume=0:enable='lt(t,0.5)+gt(t,0.7)'"
    normalise(talking(folder / "raw.mp4", source=COUNTING, tone=tone), folder / "clip.mp4")
    return folder / "clip.mp4"


@pytest.mark.parametrize(("count", "fps"), [(8, 8.0), (9, 80 / 11), (3, 0.133), (13, 29.97), (1, 8.0), (10, 13 / 7)])
def test_every_frame_is_shown_for_its_time(tmp_path, count, fps) -> None:
    target = tmp_path / "out.mp4"
    write_video(counting(count), fps, target)
    assert duration_of(target) == pytest.approx(count / fps, abs=0.011)  # ffmpeg prints hundredths, rounded down
    assert probe(target).frames == count
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_frames_keep_their_order_and_colours(tmp_path) -> None:
    write_video(counting(10), 10.0, tmp_path / "out.mp4")
    assert numbers(read_clip(tmp_path / "out.mp4", key_fps=10.0).frames) == list(range(10))
    red = np.zeros((4, 48, 64, 3), np.uint8)
    red[..., 0] = 200
    write_video(red, 8.0, tmp_path / "red.mp4")
    mean = read_clip(tmp_path / "red.mp4").frames.mean(axis=(0, 1, 2))
    assert mean == pytest.approx((200, 0, 0), abs=4)  # coding costs 1 to 3 levels, a wrong matrix 10 or more


def test_it_is_what_browsers_play(tmp_path, beeping) -> None:
    write_video(counting(8, 47, 63), 8.0, tmp_path / "out.mp4", AudioSpan(beeping, 0.0, 1.0))
    text = summary(tmp_path / "out.mp4")
    assert "Video: h264" in text and "yuv420p(tv, bt709" in text and ", 64x48" in text
    assert "Audio: aac" in text
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # faststart: plays before it is loaded


def test_frames_are_scaled_to_the_size_asked_for(tmp_path) -> None:
    write_video(counting(4, 24, 32), 8.0, tmp_path / "out.mp4", size=(96, 72))
    assert probe(tmp_path / "out.mp4").size == (96, 72)


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_the_sound_of_the_interval_comes_along_in_its_place(tmp_path, beeping, start) -> None:
    seconds = 1.0 - start
    write_video(counting(8), 8 / seconds, tmp_path / "out.mp4", AudioSpan(beeping, start, seconds))
    loud = np.flatnonzero(loudness(tmp_path / "out.mp4") > 0.02) * 0.05
    assert loud[0] == pytest.approx(0.5 - start, abs=0.051)  # one window of 50 ms; AAC smears by 20 ms
    assert loud[-1] == pytest.approx(0.65 - start, abs=0.101)
    assert duration_of(tmp_path / "out.mp4") == pytest.approx(seconds, abs=0.05)  # whole AAC frames of 21 ms


def test_sound_that_ends_early_is_followed_by_silence(tmp_path, beeping) -> None:
    write_video(counting(8), 4.0, tmp_path / "out.mp4", AudioSpan(beeping, 0.4, 2.0))
    level = loudness(tmp_path / "out.mp4")
    assert len(level) * 0.05 == pytest.approx(2.0, abs=0.11)
    assert level[:8].max() > 0.02 > level[20:].max()


def test_an_existing_file_is_replaced(tmp_path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    write_video(counting(2), 8.0, target)
    assert probe(target).frames == 2


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 48, 64, 3), np.uint8), np.zeros((2, 48, 64, 3)), np.zeros((2, 48, 64))]
)
def test_what_are_no_frames_is_refused(tmp_path, frames) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_video(frames, 8.0, tmp_path / "out.mp4")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("with_sound", [False, True])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, beeping, with_sound) -> None:
    """The temporary names lead to a device that is always full."""

    def full(path: Path) -> Path:
        link = path.with_name(f".full{path.suffix}")
        link.symlink_to("/dev/full")
        return link

    monkeypatch.setattr("editor.media.files.temporary_beside", full)
    frames = np.random.default_rng(0).integers(0, 256, (40, 240, 320, 3), np.uint8)
    with pytest.raises(EditError, match="disk is full"):
        write_video(frames, 8.0, tmp_path / "out.mp4", AudioSpan(beeping, 0.0, 1.0) if with_sound else None)
    with pytest.raises(EditError, match="disk is full"):
        normalise(beeping, tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == []


def test_a_written_video_that_does_not_decode_is_never_shown(tmp_path, monkeypatch) -> None:
    class Broken:
        def __init__(self, path, *_):
            path.write_bytes(b"rubbish")

        def write_frame(self, frame):
            pass

        def close(self):
            pass

    monkeypatch.setattr("editor.media.write._moviepy_writer", Broken)
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(EditError, match="does not play: 0 of 4 frames"):
        write_video(counting(4), 8.0, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_nothing_is_left_when_the_block_fails(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_poster_is_the_middle_frame(tmp_path) -> None:
    write_poster(counting(9, 480, 960)[4], tmp_path / "poster.webp")
    with Image.open(tmp_path / "poster.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (640, 320))
        assert numbers(np.asarray(picture.convert("RGB"))[None]) == [4]


def film_grain(count: int, height: int, width: int) -> np.ndarray:
    """The hardest thing to code small: early guesses of a denoising look like it."""
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(8, 96, 96), (16, 300, 512), (40, 96, 96), (1, 64, 64)])
def test_previews_are_small_enough_to_be_sent_every_second(tmp_path, shape) -> None:
    write_preview(film_grain(*shape), film_grain(*shape), tmp_path / "preview.webp")
    assert (tmp_path / "preview.webp").stat().st_size <= PREVIEW_BYTES


def test_preview_loops_for_ever_at_the_clips_speed(tmp_path) -> None:
    frames = counting(12, 200, 400)
    write_preview(frames, frames[::-1], tmp_path / "preview.webp", fps=8.0)
    with Image.open(tmp_path / "preview.webp") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (12, 0)
        assert picture.size[0] == 2 * 256 + 4 and picture.size[1] == 128
        picture.seek(3)
        shown = np.asarray(picture.convert("RGB"))
        assert picture.info["duration"] == 125
    assert numbers(shown[None, :, :256]) == [3]
    assert numbers(shown[None, :, 260:]) == [8]


def test_long_previews_skip_frames_and_keep_their_length(tmp_path) -> None:
    frames = film_grain(32, 32, 32)
    write_preview(frames, frames, tmp_path / "preview.webp", fps=8.0)
    with Image.open(tmp_path / "preview.webp") as picture:
        assert picture.n_frames == 16
        picture.load()
        assert picture.info["duration"] == 250
