"""Real footage, through the media room alone and edited from file to files: it plays, at the clip's size and length.

The edits are noise: the checkpoint is tiny and random. What they look like is for trained weights.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from editor import EditRequest, edit, load_models
from editor.media import AudioSpan, normalise, probe, read_clip, side_by_side, write_preview, write_video
from editor.media.write import PREVIEW_BYTES
from editor.settings import ROOT, Settings
from tests import tiny
from tests.media.footage import duration_of, loudness

CLIPS = Path(os.environ.get("EDITOR_TEST_CLIPS") or ROOT.parent / "shared" / "data")
PROMPTS = {
    "child-riding.mp4": ("a child is riding a bike on the road", "a lego child is riding a bike on the road"),
    "car-turn.mp4": ("a jeep car is moving on the road", "a jeep car is moving on the snow"),
    "rabbit-watermelon.mp4": ("a rabbit is eating a watermelon", "a puppy is eating an orange"),
}
EXPECTED = {  # name: size, seconds, frames per second, sound
    "child-riding.mp4": ((512, 512), 1.0, 8.0, False),
    "car-turn.mp4": ((480, 480), 8.0, 10.0, False),
    "rabbit-watermelon.mp4": ((718, 718), 6.2, 30.0, True),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tiny.save_checkpoint(tmp_path_factory.mktemp("checkpoint"), "demo")
    return load_models(str(folder), Settings(device="cpu"))


@pytest.mark.parametrize("name", PROMPTS)
def test_a_real_clip_comes_back_playable(name, models, tmp_path):
    raw = CLIPS / name
    if not raw.is_file():
        pytest.skip(f"the real clips are not shipped: {name} is looked for in EDITOR_TEST_CLIPS or {CLIPS}")
    source, target = PROMPTS[name]
    request = EditRequest.from_preset("fast", source=source, targets=(target,), steps=2, max_frames=6)
    (result,) = edit(raw, request, models, tmp_path / "out")
    clip = normalise(raw, tmp_path / "clip.mp4")
    told = json.loads(result.manifest.read_text(encoding="utf-8"))
    found = probe(result.edited)
    assert found.size == clip.size
    assert (found.frames, found.fps) == (told["frames"], clip.fps)
    assert told["keyframes"] <= 6
    assert found.seconds == pytest.approx(told["clip"]["duration"], abs=0.03)  # sound ends on a packet of 21 ms
    assert found.has_audio == clip.has_audio
    assert probe(result.side_by_side).frames == told["frames"]
    assert result.poster.stat().st_size > 0
    if told["clip"]["duration"] < clip.seconds - 0.1:
        assert any("keyframes" in note for note in told["notes"]), "what is left out is said"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_clip_comes_out_as_it_went_in(tmp_path, name) -> None:
    if not (CLIPS / name).exists():
        pytest.skip(f"no {name} in {CLIPS}; set EDITOR_TEST_CLIPS to its folder")
    size, seconds, fps, sound = EXPECTED[name]
    result = normalise(CLIPS / name, tmp_path / "clip.mp4")
    assert (result.size, result.fps, result.has_audio, result.notes) == (size, fps, sound, ())
    assert result.seconds == pytest.approx(seconds, abs=1 / fps)

    clip = read_clip(tmp_path / "clip.mp4", end=8 / fps, key_fps=fps)
    assert len(clip.frames) == clip.count == 8
    assert clip.frames.std() > 20  # a picture, not an empty frame
    both = np.stack([side_by_side(*pair) for pair in zip(clip.frames, clip.frames[::-1], strict=True)])
    span = AudioSpan(clip.audio, clip.start, clip.duration) if clip.audio else None
    write_video(both, clip.fps, tmp_path / "both.mp4", span)
    written = probe(tmp_path / "both.mp4")
    assert (written.frames, written.has_audio) == (8, sound)
    assert duration_of(tmp_path / "both.mp4") == pytest.approx(8 / fps, abs=0.05)  # sound comes in frames of 21 ms
    if sound:
        assert loudness(tmp_path / "both.mp4").max() > 0.001

    write_preview(clip.frames, clip.frames[::-1], tmp_path / "preview.webp")
    assert (tmp_path / "preview.webp").stat().st_size <= PREVIEW_BYTES
