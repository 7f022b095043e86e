"""Captions, vocabulary, tokens, and what training never sees."""

import numpy as np
import pytest

from editor.demo.dataset import UNSEEN_SEED, draw_scene, held_out, training_triples, triples
from editor.demo.model import FOLDER
from editor.demo.vocabulary import (
    DARK_PLACES,
    GROUPS,
    LOOKS,
    PLACES,
    SUBJECTS,
    any_caption,
    caption,
    known_words,
    unknown_words,
)
from editor.demo.world import Scene


def test_captions_name_everything_and_vary():
    scene = Scene("apple", "orange", "road", "sunset")
    texts = {caption(scene, wording, look) for wording in range(8) for look in range(6)}
    assert len(texts) >= 12
    assert all(word in text for text in texts for word in ("an orange apple", "on the road", "at sunset"))
    assert caption(Scene("penguin", None, "snow")) == "a penguin in the snow"


def test_the_world_is_as_large_as_promised():
    assert len(SUBJECTS) >= 12 and sum(kind.paintable for kind in SUBJECTS.values()) >= 8
    assert len(PLACES) >= 6 and len(LOOKS) >= 2


def test_unknown_words_are_named_once_in_order():
    assert unknown_words("A RED car, on the road at sunset!") == []
    assert unknown_words("a lego car  with wings and lego wheels") == ["lego", "with", "wings", "and", "wheels"]
    assert unknown_words("") == []
    assert not any(unknown_words(text) for group in GROUPS.values() for text in group)


def test_a_tenth_of_the_triples_is_never_trained_on():
    kept = set(held_out())
    assert len(kept) == len(triples()) // 10
    assert not kept & set(training_triples())
    assert kept | set(training_triples()) == set(triples())
    rng = np.random.default_rng(0)
    for _ in range(300):
        scene = draw_scene(rng, (0, UNSEEN_SEED), training_triples())
        assert (scene.subject, scene.color, scene.place) not in kept and scene.seed < UNSEEN_SEED
        assert not (scene.look == "sunset" and scene.place in DARK_PLACES)
        assert not unknown_words(any_caption(scene, rng))


@pytest.mark.parametrize("text", ["a red car", "déjà vu 漢字 🚗", "a  ,double  space!", "word " * 90])
def test_the_tokenizer_takes_any_text(text):
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    ids = tokenizer(text, padding="max_length", truncation=True, max_length=77).input_ids
    assert len(ids) == tokenizer.model_max_length == 77
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id


def test_every_known_word_is_one_token():
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    assert [word for word in known_words() if len(tokenizer(word).input_ids) != 3] == []  # start, word, end
