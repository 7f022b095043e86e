"""Where the changed words are, and keeping the source elsewhere."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from editor.method import blend as blend_module
from editor.method.blend import Blend
from editor.method.branches import Rows
from editor.method.maps import FLAT, Differences, WordMaps, change_mask, kept_levels, kept_mask, map_level
from editor.method.plan import plan_control
from editor.request import EditRequest
from tests import tiny
from tests.method.runs import ask, run_edit

SWAP = "a blue car on the road"
RED = 2  # the place of "red" among the tokens of "a red car on the road"


def spot(frames: int, side: int, rows: slice, columns: slice, floor: float = 0.01) -> torch.Tensor:
    """A map (frames*side*side, 77) whose word `RED` looks at one rectangle, at another strength in every frame."""
    found = torch.full((frames, side, side), floor)
    found[:, rows, columns] = 0.5
    found *= torch.linspace(1.0, 2.0, frames)[:, None, None]
    attention = torch.zeros(frames, side, side, 77)
    attention[..., RED] = found
    return attention.flatten(0, 2)


def blend_for(target: str, **values: object) -> Blend:
    request = ask(target, steps=10, **{"blend_region": "attention", **values})
    plan = plan_control(request.source, target, request, tiny.tokenizer())
    return Blend(tiny.unet("demo"), (plan,), request, (16, 16))


def test_maps_are_means_widened_by_one_cell_and_normalised_per_frame():
    maps = WordMaps(level=1, size=(16, 16))
    maps.add("source", 3 * spot(3, 8, slice(3, 4), slice(3, 4)))
    maps.add("source", spot(3, 8, slice(3, 4), slice(3, 4)))
    words = maps.words("source", (RED,))
    assert words.shape == (3, 16, 16)
    assert torch.allclose(words.amax(dim=(1, 2)), torch.ones(3))
    assert torch.allclose(words[0], words[2], atol=1e-6)  # float32: the frames differ in strength alone
    inside = (words[0] > 0.9).nonzero()
    # one cell of 8x8, widened to 3x3 cells, is 6x6 of 16x16; the bilinear edge takes one away on each side
    assert inside.min(0).values.tolist() == [5, 5]
    assert inside.max(0).values.tolist() == [8, 8]


def test_nothing_is_known_of_other_words_or_names():
    maps = WordMaps(level=1, size=(16, 16))
    assert maps.words("source", (RED,)) is None
    maps.add("source", spot(1, 8, slice(3, 4), slice(3, 4)))
    assert maps.words("source", ()) is None
    assert maps.words("target 0", (RED,)) is None


def test_odd_sides_halve_as_the_network_halves_them():
    maps = WordMaps(level=1, size=(7, 9))
    maps.add("source", torch.rand(2 * 4 * 5, 77))
    assert maps.words("source", (RED,)).shape == (2, 7, 9)


def test_the_mask_joins_both_prompts_and_refuses_flat_maps():
    one, other = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)
    one[:, :2, :2], other[:, 6:, 6:] = 1.0, 1.0
    mask, found = change_mask([one, other], 0.3)
    assert mask.sum() == 2 * 8 and found
    assert torch.equal(change_mask([one, None], 0.3)[0], one > 0.3)
    assert change_mask([None, None], 0.3) is None
    assert change_mask([], 0.3) is None
    assert not change_mask([torch.ones(2, 8, 8)], 0.3)[1]
    assert not change_mask([one, torch.rand(2, 8, 8) * 0.2 + 0.8], 0.3)[1]


def test_a_new_setting_that_is_more_than_one_thing_concerns_the_whole_picture():
    found = torch.zeros(2, 8, 8)
    found[:, 4:] = 1.0  # the ground, say
    assert not change_mask([found], 0.3, 0.33)[1]
    assert change_mask([found], 0.3)[0].float().mean() == 0.5 and change_mask([found], 0.3)[1]
    found[:, 6:] = 0.0  # a bench
    assert change_mask([found], 0.3, 0.33)[0].float().mean() == 0.25 and change_mask([found], 0.3, 0.33)[1]


@pytest.mark.parametrize(
    ("layout", "size", "level"),
    [("sd15", (64, 64), 2), ("sd15", (32, 32), 1), ("sd15", (96, 96), 2), ("demo", (24, 24), 1), ("demo", (12, 24), 1)],
)
def test_maps_come_from_the_level_of_about_sixteen_cells(layout, size, level):
    assert map_level(tiny.unet(layout), size) == level


def test_outside_the_changed_words_the_source_stays():
    blend = blend_for(SWAP)
    for step in range(10):
        blend.maps.add("source", spot(2, 16, slice(2, 5), slice(2, 5)))
        blend.maps.add("target 0", spot(2, 16, slice(2, 5), slice(2, 5)))
        blend.update(step)
        targets, source = torch.ones(1, 2, 4, 16, 16), torch.zeros(2, 4, 16, 16)
        mixed = blend.mix(step, targets, source)
        if step < 2:
            assert torch.equal(mixed, targets), "the blend begins at 20 % of the steps"
        else:
            assert torch.equal(mixed[0, 0, 0].bool(), blend.masks[0][0])
            assert mixed[0, 0, 0, 1:6, 1:6].all()
            assert mixed.sum() == 2 * 4 * 25
    assert blend.notes == ((),)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("a red car on the road in the snow", "only added"),
        ("a red car on the road", "say the same"),
        ("a blue car on the road", "covers most of the picture"),
    ],
)
def test_where_nothing_is_localised_the_blend_is_off_and_says_so(target, words):
    blend = blend_for(target)
    for step in range(10):
        if blend.maps is not None:
            blend.maps.add("source", torch.full((2 * 256, 77), 1 / 77))
            blend.maps.add("target 0", torch.full((2 * 256, 77), 1 / 77))
        blend.update(step)
        targets = torch.ones(1, 2, 4, 16, 16)
        assert torch.equal(blend.mix(step, targets, torch.zeros(2, 4, 16, 16)), targets)
    assert blend.masks == (None,)
    assert words in blend.notes[0][0]


PLACE = "a red car in the snow"
CAR = 3  # the place of "car" among the tokens of "a red car on the road"


def test_the_main_thing_stays_for_a_while_in_a_new_place_where_both_levels_show_it():
    blend = blend_for(PLACE, blend_region="difference", kept_window=0.6)
    assert blend.watched(Rows(1, True, False, True)) == ((0, "source"),)
    assert [maps.level for maps in blend.kept_maps] == [0]
    for step in range(10):
        blend.observe(torch.ones(1, 2, 4, 16, 16))
        for maps in blend.kept_maps:
            maps.add("source", spot(2, 16, slice(2, 6), slice(2, 6)).roll(CAR - RED, dims=1))
        blend.update(step)
        mixed = blend.mix(step, torch.ones(1, 2, 4, 16, 16), torch.zeros(2, 4, 16, 16))
        kept = 16 if 2 <= step < 6 else 0  # from 20 % to 60 % of the steps; not widened
        assert (mixed[0, :, 0] == 0).sum() == 2 * kept
    assert blend.masks == (None,) and blend.gathered == ()
    assert blend.notes[0][0].startswith("only the place changes: the main thing is kept on the first 60%")


@pytest.mark.parametrize(
    ("target", "values"), [(PLACE, {"kept_window": 0.0}), (PLACE, {"blend": False}), (SWAP, {}), ("a red car", {})]
)
def test_nothing_is_kept_unless_asked_for_and_told_from_the_words(target, values):
    blend = blend_for(target, **{"blend_region": "difference", **values})
    assert blend.kept_maps == ()


def test_a_word_that_looks_everywhere_keeps_nothing():
    assert not kept_mask([torch.ones(2, 8, 8)], 0.45, 0.33).any()
    assert kept_mask([None], 0.45, 0.33) is None and kept_mask([], 0.45, 0.33) is None
    one, other = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)
    one[:, 2:4, 2:4], other[:, 2:4, 2:6] = 1.0, 1.0
    # where one level alone is sure, half is above the threshold
    assert kept_mask([one, other], 0.45, 0.33).sum() == 2 * 8
    other[:, :] = 1.0  # each cell is at least half as strong as the strongest
    assert not kept_mask([one, other], 0.45, 0.33).any()


@pytest.mark.parametrize(("layout", "size", "levels"), [("sd15", (64, 64), (2, 1)), ("demo", (24, 24), (1, 0))])
def test_things_are_seen_at_two_levels(layout, size, levels):
    assert kept_levels(tiny.unet(layout), size) == levels


def test_a_blend_that_was_not_asked_for_is_not_mentioned():
    blend = blend_for("a red car on the road in the snow", blend=False)
    assert blend.maps is None
    assert blend.watched(Rows(1, True, False, True)) == ()
    assert blend.notes == ((),)


def spread(frames: int, side: int, rows: slice, columns: slice) -> torch.Tensor:
    """A difference of noise (1, F, 4, side, side) that is large in one rectangle, at another scale in every frame."""
    difference = 0.01 * torch.ones(1, frames, 4, side, side)
    difference[..., rows, columns] = -0.5
    return difference * torch.linspace(1.0, 3.0, frames)[:, None, None, None]


@pytest.mark.parametrize("target", [SWAP, "a red car on the road in the snow", "a car on the road"])
def test_the_difference_of_predictions_shows_the_region_for_any_kind_of_edit(target):
    blend = blend_for(target, blend_region="difference")
    for step in range(10):
        blend.observe(spread(2, 16, slice(4, 7), slice(4, 7)))
        blend.update(step)
    (mask,) = blend.masks
    assert blend.watched(Rows(1, True, False, True)) == (), "the fall-back's maps are no longer asked for"
    assert torch.equal(mask[0], mask[1]), "a frame that is weaker as a whole has the same region"
    where = mask[0].nonzero()
    assert (where.min(0).values.tolist(), where.max(0).values.tolist()) == ([4, 4], [6, 6])
    assert blend.notes == ((),)


def seen_difference(contrast: float, side: int = 64, region: slice = slice(20, 42)) -> tuple[Differences, torch.Tensor]:
    """Seven steps' differences of two prompts that differ `contrast` times as much inside a square as outside, with
    noise that is half the same in every step; and the square."""
    noise = torch.Generator().manual_seed(0)
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[region, region] = True
    strength = torch.where(inside, contrast, 1.0)
    same = torch.randn(1, 4, 4, side, side, generator=noise)
    found = Differences()
    for _ in range(7):
        own = torch.randn(1, 4, 4, side, side, generator=noise)
        found.add(strength * (same + own) / 2**0.5)
    return found, inside


@pytest.mark.parametrize(("contrast", "least"), [(2, 0.50), (3, 0.75), (4, 0.85)])
@pytest.mark.parametrize(("side", "region"), [(64, slice(20, 42)), (96, slice(30, 70))])
def test_the_region_is_found_whatever_a_models_contrast(contrast, least, side, region):
    difference, inside = seen_difference(contrast, side, region)
    mask, found = difference.region(0, EditRequest.from_preset(model="sd15").blend_threshold, FLAT)
    assert found
    assert mask[:, inside].float().mean() >= least
    assert mask[:, ~inside].float().mean() <= 0.05


def test_a_difference_without_contrast_is_no_region():
    difference, _ = seen_difference(1)
    assert not difference.region(0, 0.5, FLAT)[1]


def test_a_region_of_more_than_half_of_the_picture_is_one_unless_a_smaller_limit_is_asked_for():
    difference, inside = seen_difference(4, 64, slice(4, 52))  # 56 %
    mask, found = difference.region(0, 0.3, FLAT)
    assert found and mask[:, inside].float().mean() > 0.75
    assert difference.region(0, 0.3, 0.65)[1] and not difference.region(0, 0.3, 0.33)[1]


def test_where_the_difference_shows_nothing_the_words_do():
    blend = blend_for(SWAP, blend_region="difference")
    for step in range(10):
        blend.observe(torch.randn(1, 2, 4, 16, 16, generator=torch.Generator().manual_seed(step)))
        if blend.maps is not None:
            blend.maps.add("source", spot(2, 16, slice(2, 5), slice(2, 5)))
            blend.maps.add("target 0", spot(2, 16, slice(2, 5), slice(2, 5)))
        blend.update(step)
    assert blend.masks[0][0].sum() == 25
    assert blend.notes == (("blend region by the words' attention: the difference shows none",),)


def test_a_difference_all_over_the_picture_turns_the_blend_off():
    blend = blend_for(SWAP, blend_region="difference")
    for step in range(10):
        blend.observe(torch.randn(1, 2, 4, 16, 16, generator=torch.Generator().manual_seed(step)))
        blend.update(step)
    assert blend.masks == (None,)
    assert blend.notes == (("blend off: the edit acts on most of the picture",),)


@pytest.mark.parametrize("values", [{"guidance_base": "empty"}, {"guidance_scale": 1.0}, {"guidance_stop": 0.0}])
def test_without_the_source_as_guidance_base_the_region_is_found_by_attention_and_that_is_said(values):
    blend = blend_for(SWAP, blend_region="difference", **values)
    assert blend.region == "attention"
    assert "needs guidance away from the source prompt" in blend.notes[0][0]


@pytest.mark.parametrize("region", ["attention", "difference"])
def test_a_run_keeps_the_source_outside_its_mask(monkeypatch, region):
    monkeypatch.setattr(blend_module, "FLAT", 1.0)  # random weights look everywhere: let their masks count
    parts = tiny.components("demo")
    threshold = {"attention": 0.97, "difference": 0.8}
    request = ask(SWAP, steps=6, blend_region=region, blend_threshold=threshold[region])
    run = run_edit(parts, request, parts.latents(2, 16))
    (mask,) = run.sampled.masks
    assert 0 < mask.float().mean() < 1, "the threshold must leave both sides"
    outside = ~mask[:, None].expand_as(run.trajectory.clean)
    assert torch.equal(run.sampled.latents[0][outside], run.trajectory.clean[outside])
    assert not torch.allclose(run.sampled.latents[0][~outside], run.trajectory.clean[~outside], atol=1e-3)


def test_a_run_keeps_the_main_thing_where_its_maps_show_it(monkeypatch):
    found = []

    def noted(*seen):
        found.append(kept_mask(*seen))
        return found[-1]

    monkeypatch.setattr(blend_module, "kept_mask", noted)
    parts = tiny.components("demo")
    # the edit acts everywhere, the thing stays; random weights look everywhere: let their masks count
    request = ask(PLACE, steps=5, blend_threshold=0.0, kept_window=1.0, setting_limit=0.99, blend_region="attention")
    run = run_edit(parts, request, parts.latents(2, 16))
    thing = found[-1][:, None].expand_as(run.trajectory.clean)
    assert 0 < found[-1].float().mean() < 1, "there must be a thing and a place"
    assert run.sampled.masks == (None,) and "the main thing is kept" in run.sampled.notes[0][0]
    assert torch.equal(run.sampled.latents[0][thing], run.trajectory.clean[thing])
    assert not torch.allclose(run.sampled.latents[0][~thing], run.trajectory.clean[~thing], atol=1e-3)


class NoWaiting(TorchDispatchMode):
    """Refuses what brings a value from the device into the program, which would wait for it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("region", ["attention", "difference"])
@pytest.mark.parametrize("target", [SWAP, PLACE])
def test_masks_that_move_wait_for_no_device(monkeypatch, region, target):
    waited = []
    update = blend_module.Blend.update

    def watched(blend, step):
        if step == blend.start:  # whether there is a region is asked once
            return update(blend, step)
        with NoWaiting():
            update(blend, step)
        waited.append(step)

    monkeypatch.setattr(blend_module.Blend, "update", watched)
    parts = tiny.components("demo")
    run_edit(parts, ask(target, steps=5, kept_window=1.0, blend_region=region), parts.latents(2, 16))
    assert len(waited) == 4


@pytest.mark.parametrize("blend", [True, False])
def test_outside_what_was_painted_every_target_is_the_source_from_the_first_step(blend):
    painted = torch.zeros(2, 16, 16, dtype=torch.bool)
    painted[:, :4] = True
    request = ask(SWAP, steps=10, blend_region="attention", blend=blend)
    plan = plan_control(request.source, SWAP, request, tiny.tokenizer())
    made = Blend(tiny.unet("demo"), (plan,), request, (16, 16), painted)
    targets, source = torch.ones(1, 2, 4, 16, 16), torch.zeros(2, 4, 16, 16)
    assert torch.equal(made.mix(0, targets, source)[0, :, 0].bool(), painted)
    assert torch.equal(made.masks[0], painted)
    elsewhere, partly = ~painted, painted.clone()
    partly[:, 2:] = False
    made.found = (partly | elsewhere,)
    assert torch.equal(made.masks[0], partly), "what was found counts within what was painted"
    made.found = (elsewhere,)
    assert torch.equal(made.masks[0], painted), "where they have nothing in common the painter is right"


def test_an_edit_leaves_the_latents_outside_a_painted_region_alone():
    parts = tiny.components("demo")
    latents = parts.latents(2, 16)
    painted = torch.zeros(2, 16, 16, dtype=torch.bool)
    painted[:, 2:8, 3:9] = True
    request = ask(SWAP, steps=4, blend=False)
    run = run_edit(parts, request, latents, region=painted)
    outside = ~painted[:, None].expand_as(latents)
    assert torch.equal(run.sampled.latents[0][outside], run.trajectory.latents[-1][outside])
    assert not torch.equal(run.sampled.latents[0], run.trajectory.latents[-1])
