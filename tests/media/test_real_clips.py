"""Real clips through the whole room: in, composed, and out again."""

import os
from pathlib import Path

import pytest

from editor.media import AudioSpan, normalise, probe, read_clip, side_by_side, write_preview, write_video
from editor.media.write import PREVIEW_BYTES
from tests.media.footage import duration_of, loudness

CLIPS = Path(os.environ.get("EDITOR_TEST_CLIPS", Path(__file__).parents[3] / "shared" / "data"))
EXPECTED = {  # name: size, seconds, frames per second, sound
    "child-riding.mp4": ((512, 512), 1.0, 8.0, False),
    "car-turn.mp4": ((480, 480), 8.0, 10.0, False),
    "rabbit-watermelon.mp4": ((718, 718), 6.2, 30.0, True),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_clip_comes_out_as_it_went_in(tmp_path, name) -> None:
    if not (CLIPS / name).exists():
        pytest.skip(f"no {name} in {CLIPS}; set EDITOR_TEST_CLIPS to its folder")
    size, seconds, fps, sound = EXPECTED[name]
    result = normalise(CLIPS / name, tmp_path / "clip.mp4")
    assert (result.size, result.fps, result.has_audio, result.notes) == (size, fps, sound, ())
    assert result.seconds == pytest.approx(seconds, abs=1 / fps)

    clip = read_clip(tmp_path / "clip.mp4", max_frames=8)
    assert len(clip.frames) == 8 and clip.duration == 1.0
    assert clip.frames.std() > 20  # a picture, not an empty frame
    both = side_by_side(clip.frames, clip.frames[::-1])
    span = AudioSpan(clip.audio, clip.start, clip.duration) if clip.audio else None
    write_video(both, clip.fps, tmp_path / "both.mp4", span)
    written = probe(tmp_path / "both.mp4")
    assert (written.frames, written.has_audio) == (8, sound)
    assert duration_of(tmp_path / "both.mp4") == pytest.approx(1.0, abs=0.05)  # sound comes in frames of 21 ms
    if sound:
        assert loudness(tmp_path / "both.mp4").max() > 0.001

    write_preview(clip.frames, clip.frames[::-1], tmp_path / "preview.webp")
    assert (tmp_path / "preview.webp").stat().st_size <= PREVIEW_BYTES
