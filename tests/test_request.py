"""What may be asked of an edit: presets, ranges, and the messages of refusals."""

import json
from dataclasses import fields

import pytest

from editor.events import EditError
from editor.request import PRESETS, EditRequest

GOOD = {"source": "a red car", "targets": ("a blue car",)}


def test_the_paper_preset_is_frozen():
    request = EditRequest.from_preset("paper", **GOOD)
    expected = {
        "steps": 50,
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
        ({"max_frames": 129}, "Allowed: a whole number, 1 to 128"),
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
