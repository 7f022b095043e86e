"""The demo world: its captions and tokens, what training never sees, and what one changed attribute may change."""

import numpy as np
import pytest

from editor.demo.dataset import UNSEEN_SEED, draw_scene, held_out, training_triples, triples
from editor.demo.model import FOLDER
from editor.demo.vocabulary import (
    COLORS,
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
from editor.demo.world import Scene, render, render_at
from editor.events import EditError


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


SEEDS = [*range(12), 10_000_019, 10_000_777]
TIMES = (0.1, 0.8)
SIZE = 48  # half the model's side: the geometry is the same, the drawing four times quicker


def _drawn(subject, color, place, look, seed, size=SIZE):
    return render_at(Scene(subject, color, place, look, seed), TIMES, size)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("look", LOOKS)
def test_a_colour_edit_changes_nothing_outside_the_mask(seed, look):
    place = list(PLACES)[seed % len(PLACES)]
    subject = [name for name, kind in SUBJECTS.items() if kind.paintable][seed % 9]
    one, mask, _ = _drawn(subject, COLORS[seed % 6], place, look, seed)
    two, other_mask, _ = _drawn(subject, COLORS[(seed + 3) % 6], place, look, seed)
    assert np.array_equal(mask, other_mask)
    assert np.array_equal(one[~mask], two[~mask])
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("look", LOOKS)
def test_a_subject_edit_changes_nothing_outside_both_masks(seed, look):
    names = list(SUBJECTS)
    place = list(PLACES)[seed % len(PLACES)]
    one, mask, _ = _drawn(names[seed % len(names)], None, place, look, seed)
    two, other_mask, _ = _drawn(names[(seed + 4) % len(names)], None, place, look, seed)
    outside = ~(mask | other_mask)
    assert outside.any() and np.array_equal(one[outside], two[outside])
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("look", LOOKS)
def test_a_place_edit_changes_nothing_where_the_sprite_is_opaque(seed, look):
    names = list(PLACES)
    subject = list(SUBJECTS)[seed % len(SUBJECTS)]
    one, mask, opaque = _drawn(subject, None, names[seed % len(names)], look, seed, 96)
    two, other_mask, other_opaque = _drawn(subject, None, names[(seed + 3) % len(names)], look, seed, 96)
    assert np.array_equal(mask, other_mask) and np.array_equal(opaque, other_opaque)
    assert opaque.any() and np.array_equal(one[opaque], two[opaque])
    assert not np.array_equal(one[~mask], two[~mask])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_look_edit_keeps_the_geometry(seed):
    subject, place = list(SUBJECTS)[seed % len(SUBJECTS)], list(PLACES)[seed % len(PLACES)]
    plain, mask, opaque = _drawn(subject, None, place, "plain", seed)
    sunset, sunset_mask, sunset_opaque = _drawn(subject, None, place, "sunset", seed)
    sketch, sketch_mask, sketch_opaque = _drawn(subject, None, place, "sketch", seed)
    assert np.array_equal(mask, sunset_mask) and np.array_equal(opaque, sunset_opaque)
    assert not (mask & ~sketch_mask).any() and not (sketch_opaque & ~opaque).any()  # wider by the filter's reach only
    assert not np.array_equal(plain, sunset) and not np.array_equal(plain, sketch)


def test_the_seed_alone_fixes_the_clip():
    scene = Scene("car", "red", "road", "plain", 7)
    frames, mask = render(scene, 6, SIZE)
    again, mask_again = render(Scene("car", "red", "road", "plain", 7), 6, SIZE)
    other, _ = render(Scene("car", "red", "road", "plain", 8), 6, SIZE)
    assert np.array_equal(frames, again) and np.array_equal(mask, mask_again)
    assert not np.array_equal(frames, other)
    assert frames.shape == (6, SIZE, SIZE, 3) and frames.dtype == np.uint8
    assert mask.shape == (6, SIZE, SIZE) and mask.dtype == bool


@pytest.mark.parametrize("seed", range(8))
def test_something_moves_and_the_subject_stays_in_sight(seed):
    frames, mask = render(Scene("turtle", "green", "beach", "plain", seed), 8, SIZE)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2  # levels of 255: more than rounding
    assert (mask.mean(axis=(1, 2)) > 0.05).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"subject": "truck"}, ("truck", "car", "rocket")),
        ({"subject": "car", "color": "pink"}, ("pink", "red", "purple")),
        ({"subject": "car", "place": "kitchen"}, ("kitchen", "road", "space")),
        ({"subject": "car", "look": "cubist"}, ("cubist", "plain", "sunset")),
        ({"subject": "penguin", "color": "red"}, ("penguin", "red", "leave the colour out", "car")),
        ({"subject": "car", "seed": -1}, ("-1", "0 or more")),
    ],
)
def test_an_unknown_word_is_answered_with_the_known_ones(values, words):
    with pytest.raises(EditError) as error:
        Scene(**values)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("frames", "size", "word"), [(0, 96, "frames"), (-2, 96, "frames"), (4, 50, "size"), (4, 0, "size")]
)
def test_unusable_sizes_are_refused(frames, size, word):
    with pytest.raises(EditError, match=word):
        render(Scene("car", "red"), frames, size)
