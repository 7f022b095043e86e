"""Numbers by family and strength: what is in force for a model, and where it comes from."""

import pytest

from editor.diffusion.catalog import CATALOG, family_of
from editor.events import EditError
from editor.flags import numbers_lines
from editor.presets import HELD, STRENGTHS
from editor.request import EditRequest

GOOD = {"source": "a red car", "targets": ("a blue car",)}


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
        assert request.replace_window == 0.8
        assert max(request.shape_window, request.subject_window) == 0.5
        assert (request.inversion, request.residual_window, request.shape_residual) == ("pinned", (0.0, 0.5), 0.0)
        assert (request.blend_threshold, request.kept_threshold, request.setting_limit) == (0.5, 0.3, 0.65)


def test_the_drawn_numbers_are_those_of_the_evaluation():
    balanced, fast = (EditRequest.from_preset(p, **GOOD) for p in ("balanced", "fast"))
    assert (balanced.steps, fast.steps) == (26, 19)
    for request in (balanced, fast):
        assert (request.guidance_scale, request.guidance_stop, request.setting_guidance) == (1.5, 0.4, 0.8)
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
        assert ends == sorted(ends, reverse=True) and ends[1] > ends[2] and max(ends) <= 1
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
