"""The checkpoint's safety checker, with a tiny real one."""

import shutil

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from editor.diffusion.models import load_models
from editor.events import EditError
from editor.settings import Settings
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
    with pytest.raises(EditError, match=r"flagged 3 of 3 frames.*EDITOR_SAFETY=off"):
        safety.refuse_flagged(frames)
    np.testing.assert_array_equal(frames, FRAMES)


def test_harmless_frames_pass(checkpoint):
    safety = load_models(checkpoint(2.0), Settings(device="cpu")).safety
    assert safety.flagged(FRAMES) == ()
    safety.refuse_flagged(FRAMES)


def test_a_self_hoster_can_turn_it_off(checkpoint):
    models = load_models(checkpoint(-2.0), Settings(device="cpu", safety="off"))
    assert models.safety is None
    assert "safety checker: turned off with EDITOR_SAFETY=off" in models.notes
