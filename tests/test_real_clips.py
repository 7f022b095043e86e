"""Edits of real footage, from file to files: every output plays, at the clip's size and length, with its sound.

The pictures are noise: the checkpoint is tiny and random. What they look like is for trained weights.
"""

import json
import os
from pathlib import Path

import pytest

from editor import EditRequest, edit, load_models
from editor.media import normalise, probe
from editor.settings import ROOT, Settings
from tests import tiny

CLIPS = Path(os.environ.get("EDITOR_TEST_CLIPS") or ROOT.parent / "shared" / "data")
PROMPTS = {
    "child-riding.mp4": ("a child is riding a bike on the road", "a lego child is riding a bike on the road"),
    "car-turn.mp4": ("a jeep car is moving on the road", "a jeep car is moving on the snow"),
    "rabbit-watermelon.mp4": ("a rabbit is eating a watermelon", "a puppy is eating an orange"),
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
    assert found.frames == 6
    assert found.seconds == pytest.approx(told["clip"]["duration"], abs=0.03)  # sound ends on a packet of 21 ms
    assert found.has_audio == clip.has_audio
    assert probe(result.side_by_side).frames == 6
    assert result.poster.stat().st_size > 0
    if told["clip"]["duration"] < clip.seconds - 0.1:
        assert any("is the most that was asked for" in note for note in told["notes"]), "what is left out is said"
