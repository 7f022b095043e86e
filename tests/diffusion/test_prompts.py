"""Tokens, words and embeddings of prompts."""

import pytest
import torch

from editor.diffusion.prompts import cut_note, embed, tokenise
from tests import tiny


@pytest.fixture(scope="module")
def parts():
    return tiny.components()


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red car",
        "  a   red\tcar \n",
        "a red car, moving; on the road!",
        "it's a zebra-striped wagon (1970s)",
        "ein roter Käfer, 東京",
        "A RED Car",
        "supercalifragilistic " * 12,
    ],
)
def test_word_by_word_gives_the_tokenizers_own_ids(parts, prompt):
    whole = parts.tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
    assert list(tokenise(parts.tokenizer, prompt).ids) == whole


def test_positions_cover_the_tokens_of_each_word(parts):
    tokens = tokenise(parts.tokenizer, "a  zebra, on the road")
    assert tokens.words == ("a", "zebra,", "on", "the", "road")
    assert tokens.positions[0] == range(1, 2)
    for word, places in zip(tokens.words, tokens.positions, strict=True):
        assert parts.tokenizer.decode([tokens.ids[p] for p in places]).strip().replace(" ,", ",") == word
    assert len(tokens.positions[1]) > 1, "the word must be spelled with several tokens for this test to mean something"


def test_what_does_not_fit_is_named(parts):
    prompt = "car " * 74 + "zebra dog"
    tokens = tokenise(parts.tokenizer, prompt)
    assert len(tokens.ids) == 77
    assert tokens.cut == ("zebra", "dog")
    assert tokens.words[-1] == "zebra" and len(tokens.positions[-1]) == 1, "its first token fits"
    assert cut_note(parts.tokenizer, "target prompt", prompt).endswith("not seen by the model: zebra dog")
    assert cut_note(parts.tokenizer, "target prompt", "a car") is None


def test_embeddings_are_the_last_hidden_state_in_float32(parts):
    prompts = ["a red car", ""]
    found = embed(parts.tokenizer, parts.text_encoder, prompts, torch.device("cpu"))
    assert found.shape == (2, 77, tiny.TEXT_WIDTH) and found.dtype == torch.float32
    torch.testing.assert_close(found[:1], parts.embed("a red car"), rtol=0, atol=1e-5)  # batch of 2 against 1: rounding
