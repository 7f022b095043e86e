"""The form has a field for every setting, and gives back the request it shows."""

import asyncio
from dataclasses import fields

import gradio as gr
import pytest
from gradio.queueing import create_validator_fn
from gradio.state_holder import SessionState

from editor.events import EditError
from editor.jobs import JobService
from editor.request import PRESETS, EditRequest
from editor.settings import Settings
from editor.web.advanced import (
    DEPENDS,
    GROUPS,
    advanced_components,
    advanced_fields,
    advanced_values,
    matters,
    parse_field,
    parse_weights,
    parse_window,
    standing,
)
from editor.web.desk import Desk
from editor.web.estimate import Pace
from editor.web.form import build_request, split_targets, whole_form
from editor.web.page import Page


def test_every_advanced_setting_has_its_place():
    placed = [name for names in GROUPS.values() for name in names]
    assert sorted(placed) == sorted(f.name for f in fields(EditRequest) if f.metadata["advanced"])
    assert set(DEPENDS) <= set(placed) and {other for other, _ in DEPENDS.values()} <= set(placed)


def test_every_component_explains_itself():
    with gr.Blocks():
        drawn = advanced_components(Settings(), EditRequest.from_preset())
    assert list(drawn) == list(advanced_fields())
    assert all(component.info for component in drawn.values())


def test_ranges_follow_the_installation():
    with gr.Blocks():
        drawn = advanced_components(Settings(max_frames=12, max_steps=30), EditRequest.from_preset())
    assert (drawn["max_frames"].maximum, drawn["steps"].maximum) == (12, 30)


@pytest.mark.parametrize("model", ["demo", "sd15"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_form_nobody_touched_is_the_preset(preset, model):
    choice = {"model": model, "strength": "normal" if preset == "paper" else "strong"}
    prompts = {"source": " a red car ", "targets": "a blue car\n\n a green car "}
    # the control is hidden with `paper` and keeps whatever it had
    built = build_request({**whole_form(EditRequest.from_preset(preset, **choice)), **prompts, "strength": "strong"})
    assert built == EditRequest.from_preset(preset, source="a red car", targets=("a blue car", "a green car"), **choice)


LORA = {"loras": ["neon"], "lora_scale": 0.8}


def test_gradios_floats_become_whole_numbers():
    built = build_request(whole_form(EditRequest()) | {"steps": 30.0, "size": "512", **LORA})
    assert (built.steps, built.size) == (30, 512) and type(built.steps) is int is type(built.size)
    assert built.loras == {"neon": 0.8}


@pytest.mark.parametrize(
    ("text", "said"), [("many", "not a number"), ("5000", "Allowed: 64 to 2048"), ("nan", "Allowed")]
)
def test_a_number_that_is_none_is_refused(text, said):
    with pytest.raises(EditError, match=said):
        parse_field(advanced_fields()["size"], text)


@pytest.mark.parametrize("text", ["0.5 to 1", "0.5-1", ".5, 1.0", "0.5…1"])
def test_windows_are_read_as_people_write_them(text):
    assert parse_window(text) == (0.5, 1.0)


@pytest.mark.parametrize("text", ["", "1", "a to b", "0.8 to 0.2", "0 to 2", "0 to 0.5 to 1"])
def test_a_window_that_is_none_is_refused_by_name(text):
    with pytest.raises(EditError, match=r"0\.5 to 1"):
        parse_window(text)


def test_word_weights():
    assert parse_weights("snow=1.5, car = 0.8") == {"snow": 1.5, "car": 0.8}
    assert parse_weights("") == {}
    with pytest.raises(EditError, match=r"snow=1\.5"):
        parse_weights("snow")


def test_targets_are_lines():
    assert split_targets(" a \n\nb\n") == ("a", "b")
    assert split_targets("") == ()


def test_the_window_of_self_attention_is_shown_where_something_is_taken():
    shown = {
        taken: matters("self_attention_window", {"self_attention": taken})
        for taken in ("own", "source_kv", "source_maps")
    }
    assert shown == {"own": False, "source_kv": True, "source_maps": True}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    made = Page(Desk(JobService(Settings(data=data)), Pace(data), ()))
    made.blocks = made.build()
    return made


def posted(page, block_fn, before, form):
    """What Gradio answers when the page posts its values for an event."""
    values = [*before, *form.values()]
    answer = page.blocks.process_api(block_fn, values, state=SessionState(page.blocks))
    return asyncio.run(answer)["data"]


def test_every_click_receives_the_form_by_name(page):
    form = {**whole_form(EditRequest()), "source": "a red car", "targets": "a blue car"}
    assert list(page.form) == list(form)  # `again` fills the fields in this order
    assert page.form["steps"].elem_id == "set-steps" and page.form["targets"].elem_id == "targets"
    describe = next(f for f in page.blocks.fns.values() if f.name == "describe")
    assert "<ins>blue</ins>" in posted(page, describe, [None], form)[0]


def test_what_differs_from_the_default_is_named_and_goes_back(page):
    form = {**whole_form(EditRequest.from_preset("fast")), "preset": "fast", "steps": 7.0, "size": "wide"}
    told = standing(EditRequest.from_preset("fast"), form)
    assert told["differing"] == ["size", "steps"] and told["defaults"]["size"] == "automatic"
    assert told["defaults"]["blend"] == "on" and told["labels"]["key_fps"] == "Key fps" and "fast" in told["origin"]
    untouched = advanced_values(EditRequest.from_preset("paper"))
    assert standing(EditRequest.from_preset("paper"), untouched)["differing"] == []
    compare = next(f for f in page.blocks.fns.values() if f.name == "compare")
    assert posted(page, compare, [], form)[0]["differing"] == ["size", "steps"]


def test_a_verdict_stands_at_the_field_it_is_about(page):
    form = {**whole_form(EditRequest()), "source": " ", "targets": "a blue car", "null_text_window": "often"}
    submit = next(f for f in page.blocks.fns.values() if f.name == "submit" and f.validator)
    verdicts = posted(page, create_validator_fn(submit), [None, None], form)
    wrong = [
        name for name, verdict in zip(["owner", "chosen", *form], verdicts, strict=True) if not verdict["is_valid"]
    ]
    assert wrong == ["source", "null_text_window"]
