"""What may be asked of an edit: presets, numbers by family and strength, ranges, and the messages of refusals."""

import json
from dataclasses import fields

import pytest

from editor.diffusion.catalog import CATALOG, family_of
from editor.events import EditError
from editor.flags import numbers_lines
from editor.presets import HELD, STRENGTHS
from editor.request import PRESETS, EditRequest

GOOD = {"source": "a red car", "targets": ("a blue car",)}


def test_the_paper_preset_is_frozen():
    request = EditRequest.from_preset("paper", **GOOD)
    expected = {
        "steps": 50,
        "swap_steps": 0,
        "guidance_scale": 7.5,
        "guidance_stop": 1.0,
        "inversion": "null_text",
        "inversion_prompt": "empty",
        "null_text_inner_steps": 1,
        "null_text_window": (0.5, 1.0),
        "frame_attention": "sparse",
        "dense_layers": "paper",
        "replace_window": 0.8,
        "refine_window": 0.4,
        "subject_window": 1.0,
        "subject_guidance": 1.0,
        "setting_guidance": 1.0,
        "self_attention": "own",
        "guidance_quantile": 0.0,
        "guidance_base": "empty",
        "as_published": True,
        "residual": 0.0,
        "blend": False,
        "keep_detail": False,
        "spatial_pixel_weight": 0.0,
        "spatial_gradient_weight": 0.0,
        "agreement": 0,
    }
    assert {name: getattr(request, name) for name in expected} == expected
    assert set(PRESETS["paper"]) == set(expected), "a number of the paper preset is not frozen by this test"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_within_its_own_ranges(preset):
    request = EditRequest.from_preset(preset, **GOOD).validated()
    assert request.preset == preset


def test_a_value_given_beside_a_preset_wins_and_none_keeps_the_presets():
    request = EditRequest.from_preset("paper", **GOOD, steps=7, guidance_scale=None)
    assert (request.steps, request.guidance_scale) == (7, 7.5)


def test_a_request_survives_json():
    request = EditRequest.from_preset("fast", **GOOD, word_weights={"blue": 1.5}, end=2.0)
    assert EditRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "  "}, "source prompt"),
        ({"targets": ()}, "target prompt"),
        ({"targets": ("a blue car", " ")}, "target prompt"),
        ({"preset": "best"}, "Allowed: paper, balanced, fast"),
        ({"inversion": "null_text", "guidance_base": "empty", "setting_guidance": 0.8}, "setting_guidance is 0.8"),
        ({"inversion": "magic"}, "Allowed: ddim, null_text, pinned"),
        ({"steps": 0}, "Allowed: a whole number, 1 to 200"),
        ({"steps": 2.5}, "whole number"),
        ({"steps": True}, "whole number"),
        ({"max_frames": 481}, "Allowed: a whole number, 1 to 480"),
        ({"guidance_scale": float("nan")}, "Allowed: a number, 1 to 20"),
        ({"guidance_scale": float("inf")}, "Allowed: a number, 1 to 20"),
        ({"guidance_scale": "much"}, "Allowed: a number, 1 to 20"),
        ({"start": -1.0}, "Allowed: a number, 0 or more"),
        ({"start": float("inf")}, "Allowed: a number, 0 or more"),
        ({"start": 2.0, "end": 2.0}, "the end must come later"),
        ({"null_text_window": (0.8, 0.2)}, "the start must not come after the end"),
        ({"null_text_window": (0.5,)}, "two numbers"),
        ({"word_weights": {"blue": 99.0}}, "Allowed: a number for each word, -5 to 10"),
        ({"blend": "no"}, "true or false"),
        ({"source": 7}, "text"),
        ({"targets": ("a blue car", 7)}, "text"),
        ({"targets": "a blue car"}, "targets is 'a blue car'. Allowed: texts"),
        ({"word_weights": 3}, "word_weights"),
    ],
)
def test_refusals_name_the_value_and_what_is_allowed(changes, said):
    request = EditRequest(**{**GOOD, **changes})
    with pytest.raises(EditError, match=said):
        request.validated()


@pytest.mark.parametrize("make", [EditRequest.from_preset, lambda **values: EditRequest.from_dict(values)])
def test_unknown_names_are_refused(make):
    with pytest.raises(EditError, match="Unknown option speed"):
        make(**GOOD, speed=2)


def test_an_unknown_preset_is_refused_by_name():
    with pytest.raises(EditError, match="no preset 'best'"):
        EditRequest.from_preset("best", **GOOD)


def test_every_field_explains_itself():
    assert all(f.metadata["help"].endswith(".") for f in fields(EditRequest))


def test_the_catalog_says_the_family_and_everything_else_is_photo(tmp_path):
    assert {name: family_of(name) for name in CATALOG if family_of(name) == "drawn"} == {"demo": "drawn"}
    for other in ("sd15", str(tmp_path), "model.safetensors", "someone/some-model", "someone/some-model@main"):
        assert family_of(other) == "photo"
        assert EditRequest.from_preset(model=other, **GOOD).family == "photo"
    assert EditRequest.from_preset(**GOOD).family == "drawn"


def test_photo_is_what_the_design_says():
    """The table of the design, from the literature on Stable Diffusion."""
    balanced, fast = (EditRequest.from_preset(p, model="sd15", **GOOD) for p in ("balanced", "fast"))
    assert (balanced.steps, fast.steps) == (30, 16)
    for request in (balanced, fast):
        assert (request.guidance_base, request.guidance_scale, request.guidance_stop) == ("source", 7.5, 1.0)
        assert request.setting_guidance == request.subject_guidance == 1.0, "the same for places, times and looks"
        assert request.guidance_quantile == 0.7
        assert (request.self_attention, request.self_attention_window) == ("source_maps", (0.0, 0.5))
        assert request.self_attention_cells == 32
        assert (request.frame_attention, request.dense_layers) == ("sparse", "paper")
        assert request.replace_window == 0.8
        assert max(request.shape_window, request.subject_window) == 0.5
        assert (request.inversion, request.residual_window, request.shape_residual) == ("pinned", (0.0, 0.5), 0.0)
        assert (request.blend_threshold, request.kept_threshold, request.setting_limit) == (0.5, 0.3, 0.65)


def test_the_drawn_numbers_are_those_of_the_evaluation():
    balanced, fast = (EditRequest.from_preset(p, **GOOD) for p in ("balanced", "fast"))
    assert (balanced.steps, balanced.swap_steps, fast.steps, fast.swap_steps) == (12, 9, 10, 7)
    for request in (balanced, fast):
        assert (request.guidance_scale, request.guidance_stop) == (1.5, 0.4)
        assert (request.setting_guidance, request.subject_guidance) == (1.55, 2.2)
        assert (request.inversion, request.subject_window) == ("pinned", 0.0)
        assert (request.replace_window, request.refine_window) == (0.0, 0.2)
        assert (request.frame_attention, request.dense_layers) == ("sparse", "none")
        assert (request.self_attention_window, request.residual_window) == ((0.0, 1.0), (0.0, 1.0))


def test_paper_is_the_same_for_all_families_and_takes_no_strength():
    demo, other = (EditRequest.from_preset("paper", model=m, **GOOD) for m in ("demo", "sd15"))
    assert demo.numbers() == other.numbers()
    assert "the same for every model" in demo.origin()
    with pytest.raises(EditError, match="kept as published"):
        EditRequest.from_preset("paper", strength="strong", **GOOD).validated()


@pytest.mark.parametrize("model", ["demo", "sd15"])
@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_strength_raises_guidance_and_shortens_what_holds_the_source(preset, model):
    gentle, normal, strong = (
        EditRequest.from_preset(preset, model=model, strength=s, **GOOD).validated() for s in STRENGTHS
    )
    assert gentle.guidance_scale < normal.guidance_scale < strong.guidance_scale
    assert gentle.steps == normal.steps == strong.steps
    for name in HELD:
        ends = [w[1] if isinstance(w, tuple) else w for w in (getattr(r, name) for r in (gentle, normal, strong))]
        assert ends == sorted(ends, reverse=True) and (ends[1] > ends[2] or ends == [0, 0, 0]) and max(ends) <= 1
    assert normal == EditRequest.from_preset(preset, model=model, **GOOD), "normal is the preset itself"


def test_a_family_can_be_asked_for_and_is_recorded():
    asked = EditRequest.from_preset(model="/some/folder", family="drawn", **GOOD)
    assert asked.family == "drawn" and asked.guidance_scale == 1.5
    assert EditRequest.from_dict(asked.to_dict()) == asked
    with pytest.raises(EditError, match=r"no family .film.\. Allowed: drawn, photo"):
        EditRequest.from_preset(family="film", **GOOD)
    with pytest.raises(EditError, match=r"no strength .huge.\. Allowed: gentle, normal, strong"):
        EditRequest.from_preset(strength="huge", **GOOD)


def test_what_is_in_force_is_said_with_its_origin():
    plain = EditRequest.from_preset(model="sd15", strength="gentle", **GOOD)
    said, values = numbers_lines(plain)
    assert said == (
        "numbers: preset balanced, strength gentle, family photo: from the literature on editing with Stable "
        "Diffusion, not tuned on this model"
    )
    assert "guidance_scale 5," in values and "self_attention_window 0 to 0.7," in values
    changed = EditRequest.from_preset(model="sd15", guidance_scale=9.0, **GOOD)
    assert changed.origin().endswith("; set by hand: guidance_scale")
