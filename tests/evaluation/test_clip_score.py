"""CLIP scores with a tiny CLIP of random weights: the formulas, not the opinion."""

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from editor.evaluation.clip_score import ClipScore
from editor.events import EditError
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    tokens = tiny.tokenizer()
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**small, "vocab_size": len(tokens), "eos_token_id": tokens.eos_token_id, "bos_token_id": 0}
    model = CLIPModel(
        CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=16)
    )
    path = tmp_path_factory.mktemp("clip")
    model.save_pretrained(path)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokens).save_pretrained(path)
    return path


def test_scores_are_cosines(folder):
    score = ClipScore(folder)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    values = score(frames, "a red car")
    inputs = score.processor(text=["a red car"], images=list(frames), return_tensors="pt")
    with torch.no_grad():
        outcome = score.model(**inputs)
    scale = score.model.logit_scale.exp()  # logits are cosines times this
    assert values["clip_text"] == pytest.approx(float(100 * (outcome.logits_per_image / scale).mean()), abs=1e-3)
    pictures = outcome.image_embeds
    first, second = (float(torch.cosine_similarity(pictures[i], pictures[i + 1], dim=0)) for i in (0, 1))
    assert values["clip_frames"] == pytest.approx(50 * (first + second), abs=1e-3)


def test_equal_frames_are_wholly_consistent(folder):
    frames = np.repeat(np.full((1, 32, 32, 3), 90, np.uint8), 3, axis=0)
    assert ClipScore(folder)(frames, "a dog")["clip_frames"] == pytest.approx(100, abs=1e-3)
    assert ClipScore(folder)(frames[:1], "a dog")["clip_frames"] is None


def test_a_folder_without_clip_is_refused_in_words(tmp_path):
    with pytest.raises(EditError, match="no CLIP model"):
        ClipScore(tmp_path)
