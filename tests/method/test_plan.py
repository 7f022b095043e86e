"""Which words differ, and where each token's attention goes."""

import pytest
import torch

from editor.diffusion.prompts import tokenise
from editor.events import EditError
from editor.method.plan import plan_control
from tests import tiny
from tests.method.runs import ask


def plan(source: str, target: str, **values: object):
    return plan_control(source, target, ask(target, source=source, **values), tiny.tokenizer())


def tokens(prompt: str) -> int:
    return len(tiny.tokenizer()(prompt, add_special_tokens=False).input_ids)


def plain_mapper(groups: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """The definition: each group of source tokens gives its attention evenly to a group of target tokens."""
    mapper = torch.zeros(77, 77)
    for sources, targets in groups:
        one_to_one = len(sources) == len(targets)
        for a, s in enumerate(sources):
            for b, t in enumerate(targets):
                mapper[s, t] = (a == b) if one_to_one else 1 / len(targets)
    return mapper


@pytest.mark.parametrize(
    ("source", "target", "thing"),
    [
        ("an orange car is moving in the desert", "an orange fox is moving in the desert", "fox"),
        ("a yellow turtle in the snow", "a snowman in the snow", "snowman"),
        ("a picture of a red apple", "a picture of a red dinosaur", "dinosaur"),
        ("a cat running in a field", "a dog running in a field", "dog"),
        ("a dog runs on the grass.", "A cat runs on the grass.", "cat"),
        ("a man riding a horse", "a man riding a bike", "bike"),
        ("a cat and a ball in the grass", "a cat and a dog in the grass", "dog"),
        ("a boat, seen at night", "a whale, seen at night", "whale"),
        ("a red car on the road", "a blue car on the road", None),  # a quality
        ("a car on the road", "a car in the snow", None),  # a place
        ("a car on the road at night", "a car on the road at sunset", None),
        ("a photo of a car", "a painting of a car", None),  # a look
        ("a car in the snow", "a car", None),
        ("a car", "a car", None),
    ],
)
def test_another_thing_takes_the_old_maps_for_less_long(source, target, thing):
    values = {"guidance_scale": 2.0, "subject_guidance": 2.5, "replace_window": 0.8, "subject_window": 0.25}
    found = plan(source, target, refine_window=0.8, **values)
    assert (found.window[1], found.guidance) == ((0.25, 5.0) if thing else (0.8, 2.0))
    assert f"“{thing}”" in found.control.note if thing else found.control.note == ""


@pytest.mark.parametrize(
    ("source", "target", "alone"),
    [
        ("a car on the road", "a car in the snow", True),
        ("a car on the road", "a car on the road, at sunset", False),
        ("a car on the road, as a pencil sketch", "a car on the road", False),
        ("a car on the dry grass", "a car in deep snow at night", True),
        ("a red car on the road", "a blue car in the snow", False),
        ("a car on the road", "a bus in the snow", False),
        ("a man in a park", "a man with a hat in a park", False),
        ("a man in a red shirt", "a man in a blue shirt", False),
        ("a car on the road", "a car on a road at night", False),
        ("a car on the road", "a car on the road, pencil sketch", False),
        ("a car on the road", "a red car on the road", False),
        ("a car on the road", "a car on the road", False),
    ],
)
def test_a_new_place_alone_is_guided_by_its_own_strength(source, target, alone):
    found = plan(source, target, guidance_scale=2.0, setting_guidance=0.6)
    assert (found.guidance == 1.2) is alone
    assert ("guidance scale 1.2" in found.control.note) is alone


@pytest.mark.parametrize(
    ("source", "target", "until"),
    [
        ("a red car on the road", "a blue car on the road", 0.9),
        ("a car on the road", "a car on the road, at sunset", 0.9),
        ("a car on the road, as a pencil sketch", "a car on the road", 0.9),
        ("a car on the road", "a bus on the road", 0.0),
        ("a jeep car on the road", "a sports car on the road", 0.5),
        ("a red car on the road", "a blue car in the snow", 0.0),
        ("a man in a park", "a man with a hat in a park", 0.0),
        ("a man with a hat", "a man", 0.0),
        ("a cat is sleeping on the road", "a cat is running on the road", 0.0),
        ("a car at the station", "a car at the beach", 0.0),
        ("a man with a hat", "a man without a hat", 0.0),
        ("a cat on the table", "a cat under the table", 0.0),
        ("two cars on the road", "three cars on the road", 0.0),
        ("a car on the road", "a car on the road, pencil sketch", 0.9),
        ("a car on the road", "a car on the road, in watercolor style", 0.9),
        ("a car on the road", "a car on the road in the style of van gogh", 0.9),
        ("a photo of a car", "a painting of a car", 0.9),
        ("a car on the road", "a car on the road in winter", 0.9),
        ("a car on the road", "a car on the road during the night", 0.9),
        ("a red building", "a blue building", 0.9),
        ("a car on the road", "a shining car on the road", 0.9),
        ("the car is red", "the car is blue", 0.9),
    ],
)
def test_self_attention_takes_from_the_source_unless_a_new_shape_comes_or_goes(source, target, until):
    found = plan(source, target, self_attention="source_maps", self_attention_window=(0.0, 0.9))
    assert found.self_window == (0.0, until)
    assert ("a shape" in found.control.note) is (until < 0.9)
    unhindered = plan(source, target, self_attention="source_kv", self_attention_window=(0.0, 0.9))
    assert unhindered.self_window == (0.0, 0.9)


def test_without_guidance_no_words_bring_any():
    for target in ("a car in the snow", "a bus on the road"):
        found = plan("a car on the road", target, guidance_scale=1.0, setting_guidance=3.0, subject_guidance=3.0)
        assert found.guidance == 1.0 and "guidance scale" not in found.control.note


def test_guidance_to_a_new_place_is_never_less_than_none():
    assert plan("a car on the road", "a car in the snow", guidance_scale=1.25, setting_guidance=0.5).guidance == 1.0


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ("a car on the road", "a car in the snow", True),
        ("a car on the road", "a car on the road, at sunset", True),
        ("a car", "a car in a small forest", True),
        ("a man with a hat", "a man with a crown", True),
        ("a cat and a ball", "a cat and a dog", False),
        ("a car on the red road", "a car on the blue road", False),
        ("a car on the road", "a bus on the road", False),
        ("a car in the snow", "a car", True),
        ("a car in the snow, as a pencil sketch", "a car in the snow", True),
        ("a car in the snow", "a car in the snow, watercolor", True),
    ],
)
def test_what_may_reach_the_whole_picture(source, target, found):
    assert plan(source, target).may_spread is found


@pytest.mark.parametrize(
    ("target", "look"),
    [
        ("a red car on the road at sunset", True),
        ("a red car on the road as a pencil sketch", True),
        ("a blue car on the road at sunset", True),
        ("a blue car on the road", False),
        ("a red car in the snow", False),
        ("a red fox on the road", False),
    ],
)
def test_a_look_reaches_everything_and_leaves_its_shapes(target, look):
    assert plan("a red car on the road", target).is_look is look


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        ("a red car on the road", "a red car in the snow", "car"),
        ("a red car on the road", "a blue car in the snow", None),  # it gets another colour too
        ("a car is standing on the road", "a car is jumping in the snow", None),
        ("a picture of a turtle in the snow", "a picture of a turtle on the grass", "turtle"),
        ("a car on the road", "a bus in the snow", None),  # the main thing is replaced too
        ("a car on the road, at night", "a car on the road, at sunset", None),  # light falls on the car as well
        ("a car on the road", "a car in the snow at night", None),
        ("a car on the road at night", "a car in the snow", "car"),  # nothing says how light it is to be
        ("a car on the road, as a sketch", "a car on the road, at sunset", None),
        ("a car", "a car in the snow", "car"),
        ("a car in the snow", "a car", None),  # no other place is named
        ("a red car on the road", "a blue car on the road", None),
    ],
)
def test_the_main_thing_is_kept_in_another_place(source, target, kept):
    words = tokenise(tiny.tokenizer(), source)
    places = dict(zip(words.words, words.positions, strict=True))
    assert plan(source, target).kept == (tuple(places[kept]) if kept else ())


def test_another_main_thing_is_edited_as_any_other_where_nothing_else_is_asked():
    found = plan("a cat", "a dog", subject_window=1.0, subject_guidance=1.0)
    assert (found.window, found.guidance, found.control.note) == ((0.0, ask().replace_window), ask().guidance_scale, "")
    never_longer = plan("a cat", "a dog", replace_window=0.1, subject_window=0.5)
    assert never_longer.window == (0.0, 0.1)


def test_equal_prompts_map_every_token_to_itself():
    same = plan("a red car", "a red car")
    assert same.method == "replace"
    assert same.same
    assert torch.equal(same.mapper, torch.eye(77))
    assert torch.equal(same.share, torch.ones(77))
    assert same.changed_source == same.changed_target == ()


def test_replace_exchanges_words_in_place():
    swap = plan("a red car on the road", "a blue bus on the road")
    assert swap.method == "replace"
    assert torch.equal(swap.mapper, torch.eye(77))
    assert swap.changed_source == swap.changed_target == (2, 3)
    assert swap.window == (0.0, ask().replace_window)


def test_replace_spreads_a_word_of_several_tokens_evenly_and_loses_no_attention():
    long = tokens("watermelon")
    assert long > 2
    swap = plan("a red car on", "a red watermelon on")
    new = list(range(3, 3 + long))
    # start, a, red, car -> watermelon, on, end, padding; the target's padding is shorter, its last token takes the rest
    groups = [([0], [0]), ([1], [1]), ([2], [2]), ([3], new), ([4], [new[-1] + 1])]
    tail = range(new[-1] + 2, 77)
    groups += [([5 + i], [t]) for i, t in enumerate(tail[:-1])]
    groups += [(list(range(5 + len(tail) - 1, 77)), [76])]
    assert torch.allclose(swap.mapper, plain_mapper(groups))
    assert torch.allclose(swap.mapper.sum(1), torch.ones(77))  # every source token's attention arrives
    assert swap.changed_source == (3,)
    assert swap.changed_target == tuple(new)


def test_replace_gathers_a_word_of_several_tokens_into_one():
    swap = plan("a watermelon", "a car")
    long = tokens("watermelon")
    assert torch.equal(swap.mapper[2 : 2 + long, 2], torch.ones(long))
    assert torch.allclose(swap.mapper.sum(1), torch.ones(77))
    # the longer target padding shares what the last padding token of the source had
    assert torch.allclose(swap.mapper[76, 76 - long + 1 :], torch.full((long,), 1 / long))


def test_refine_keeps_old_words_and_leaves_new_ones_alone():
    addition = plan("a red car", "a red car in the snow")
    assert addition.method == "refine"
    assert addition.window == (0.0, ask().refine_window)
    new = (4, 5, 6)
    assert addition.changed_target == new
    assert addition.changed_source == ()
    assert addition.share[list(new)].tolist() == [0, 0, 0]
    assert addition.share.sum() == 74
    groups = [([i], [i]) for i in range(4)] + [([4 + i], [7 + i]) for i in range(69)]
    groups += [(list(range(73, 77)), [76])]
    assert torch.equal(addition.mapper, plain_mapper(groups))


@pytest.mark.parametrize(
    ("source", "target", "method", "gone", "new"),
    [
        ("a red car", "a car", "refine", (2,), ()),
        ("a car on the road", "a big dog on the road", "refine", (2,), (2, 3)),
        ("a car", "a red car in snow", "refine", (), (2, 4, 5)),
        # of equal length, but no word would keep its meaning at its place
        ("a red car on the road", "a car on the snow road", "refine", None, None),
        ("red car", "blue bus", "replace", (1, 2), (1, 2)),
    ],
)
def test_words_in_place_are_replaced_others_refined(source, target, method, gone, new):
    found = plan(source, target)
    assert found.method == method
    if gone is not None:
        assert (found.changed_source, found.changed_target) == (gone, new)


def test_spacing_case_and_punctuation_are_no_change():
    found = plan("a  Red car, on the road", "A red car on the road.")
    assert found.same
    # "car," has two tokens, "car" one: the comma's attention goes to the car
    assert found.mapper[3, 3] == found.mapper[4, 3] == 1
    assert torch.allclose(found.mapper.sum(1), torch.ones(77))


def test_prompts_beyond_the_limit_are_compared_as_far_as_the_model_sees_them():
    long = " ".join(["red car"] * 60)
    found = plan(long, long + " snow")
    assert found.same
    assert torch.equal(found.mapper, torch.eye(77))


def test_weights_reach_all_tokens_of_their_word():
    found = plan("a car", "a watermelon, car", word_weights={"Watermelon": 2.5, "car": 0.5})
    long = tokens("watermelon,")
    assert found.weights[2 : 2 + long].tolist() == [2.5] * long
    assert found.weights[2 + long] == 0.5
    assert found.weights.sum() == 76 - long + 2.5 * long + 0.5


def test_a_weight_for_a_word_of_another_target_is_fine_but_an_unknown_word_is_named():
    request = ask("a blue car", "a red bus", source="a red car", word_weights={"bus": 2.0})
    assert torch.equal(plan_control("a red car", "a blue car", request, tiny.tokenizer()).weights, torch.ones(77))
    with pytest.raises(EditError, match=r"'snow', which no target prompt has. Words: a, blue, car"):
        plan("a red car", "a blue car", word_weights={"snow": 2.0})
