"""The checkpoint's safety checker, with a tiny real one."""

import shutil

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from editor.diffusion.models import load_models
from editor.diffusion.safety import SafetyChecker, Withheld
from editor.events import EditError
from editor.motion import Carried
from editor.settings import Settings
from editor.stages.full_rate import passed
from tests import tiny

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 40, 32, 3), dtype=np.uint8)


def save_checker(folder, threshold):
    """A tiny checker that flags every frame (threshold -2, below any cosine) or none (2, above any)."""
    torch.manual_seed(0)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 16}, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config)
    for name in ("concept_embeds_weights", "special_care_embeds_weights"):
        getattr(checker, name).data.fill_(threshold)
    checker.save_pretrained(folder / "safety_checker")
    size = {"shortest_edge": 32}
    CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder / "feature_extractor")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return tiny.save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def checkpoint(plain, tmp_path):
    def make(threshold):
        copy = shutil.copytree(plain, tmp_path / "copy")
        save_checker(copy, threshold)
        return str(copy)

    return make


def test_flagged_frames_are_refused_in_words_and_not_blackened(checkpoint):
    safety = load_models(checkpoint(-2.0), Settings(device="cpu")).safety
    frames = FRAMES.copy()
    assert safety.flagged(frames, chunk=2) == (0, 1, 2)
    with pytest.raises(EditError, match=r"flagged 3 of 3 frames.*withheld.*EDITOR_SAFETY=off"):
        safety.passed(frames)
    np.testing.assert_array_equal(frames, FRAMES)


def test_harmless_frames_pass(checkpoint):
    safety = load_models(checkpoint(2.0), Settings(device="cpu")).safety
    assert safety.flagged(FRAMES) == ()
    assert safety.passed(FRAMES) == (FRAMES, None)


class Pointing(SafetyChecker):
    """Flags the frames it is made with."""

    def __init__(self, *found):
        super().__init__(None, None, torch.device("cpu"))
        object.__setattr__(self, "found", found)

    def flagged(self, frames, chunk=8):
        return self.found


def test_a_single_frame_is_blurred_beyond_recognition_and_said():
    frames = np.random.default_rng(0).integers(0, 256, (16, 40, 32, 3), dtype=np.uint8)
    shown, said = Pointing(5).passed(frames)
    assert said == "the safety checker flagged frame 6 of 16, which is blurred"
    others = np.arange(16) != 5
    np.testing.assert_array_equal(shown[others], frames[others])
    # of noise with a spread of 74 levels nothing is left but its mean
    assert shown[5].std() < 8 and abs(shown[5].mean() - frames[5].mean()) < 5


@pytest.mark.parametrize(("count", "found"), [(16, (3, 4)), (32, (0, 31)), (10, (0,)), (1, (0,))])
def test_from_two_frames_or_a_tenth_of_them_on_the_result_is_withheld(count, found):
    with pytest.raises(EditError, match=f"flagged {len(found)} of {count} frames, so this result is withheld"):
        Pointing(*found).passed(np.zeros((count, 8, 8, 3), np.uint8))


def written(*flagged, count=40):
    """What is written of frames of which these are flagged, in the order in which the checker looks: 2, 6, 10 ..."""

    class Looking(SafetyChecker):
        def flagged(self, frames, chunk=8):
            looked.append(int(frames[0, 0, 0, 0]))
            return (0,) if looked[-1] in flagged else ()

    looked, notes = [], []
    noise = np.random.default_rng(0).integers(0, 256, (count, 24, 24, 3), np.uint8)
    noise[:, 0, 0, 0] = range(count)
    safety = Looking(None, None, torch.device("cpu"))
    stream = (Carried(frame, frame, 0.0, False) for frame in noise)
    shown = np.stack([carried.frame for carried in passed(stream, safety, count, notes)])
    return noise, shown, looked, notes


def test_frames_between_keyframes_are_looked_at_again_and_blurred_with_their_neighbours():
    noise, shown, looked, notes = written(14, count=48)
    assert looked == list(range(2, 48, 4))
    same = [np.array_equal(a, b) for a, b in zip(noise, shown, strict=True)]
    assert [i for i, alike in enumerate(same) if not alike] == [12, 13, 14, 15]
    assert shown[14].std() < noise[14].std() / 3 and notes == [
        "the safety checker flagged frames 13 to 16, which are blurred"
    ]


@pytest.mark.parametrize(("flagged", "count"), [((2, 38), 40), ((2,), 12)])
def test_too_many_of_them_withhold_the_result(flagged, count):
    with pytest.raises(Withheld, match="withheld"):
        written(*flagged, count=count)


def test_a_self_hoster_can_turn_it_off(checkpoint):
    models = load_models(checkpoint(-2.0), Settings(device="cpu", safety="off"))
    assert models.safety is None
    assert "safety checker: turned off with EDITOR_SAFETY=off" in models.notes
