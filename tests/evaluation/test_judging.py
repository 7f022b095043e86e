"""CLIP scores with a tiny CLIP of random weights: the formulas, not the opinion."""

import json

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from editor.evaluation.cli import main
from editor.evaluation.judging import ClipScore, score_result
from editor.events import EditError
from editor.media import write_video
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
        scored = score.model(**inputs)
    scale = score.model.logit_scale.detach().exp()  # logits are cosines times this
    assert values["clip_text"] == pytest.approx(float(100 * (scored.logits_per_image / scale).mean()), abs=1e-3)
    pictures = scored.image_embeds
    first, second = (float(torch.cosine_similarity(pictures[i], pictures[i + 1], dim=0)) for i in (0, 1))
    assert values["clip_frames"] == pytest.approx(50 * (first + second), abs=1e-3)


def test_equal_frames_are_wholly_consistent(folder):
    frames = np.repeat(np.full((1, 32, 32, 3), 90, np.uint8), 3, axis=0)
    assert ClipScore(folder)(frames, "a dog")["clip_frames"] == pytest.approx(100, abs=1e-3)
    assert ClipScore(folder)(frames[:1], "a dog")["clip_frames"] is None


def test_a_folder_without_clip_is_refused_in_words(tmp_path):
    with pytest.raises(EditError, match="no CLIP model"):
        ClipScore(tmp_path)


def test_a_finished_edit_is_scored_by_its_manifest(folder, tmp_path):
    frames = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (40, 120, 200)])
    write_video(frames, 8, tmp_path / "edited.mp4")
    (tmp_path / "manifest.json").write_text(json.dumps({"target": "a blue bus", "frames": 3}))
    score = ClipScore(folder)
    values, wanted = score_result(tmp_path, score), score(frames, "a blue bus")
    assert values["clip_text"] == pytest.approx(wanted["clip_text"], abs=0.5)  # the video is compressed
    assert values["clip_frames"] < 99.99  # three grays, not one repeated


def test_a_folder_without_an_edit_is_refused_in_words(folder, tmp_path):
    with pytest.raises(EditError, match="no finished edit"):
        score_result(tmp_path, ClipScore(folder))


def test_scoring_needs_a_clip_model(tmp_path):
    with pytest.raises(EditError, match="add --clip"):
        main(["--score", str(tmp_path)])
