"""From a reading to steps, and that the plans of the evaluation's tasks stay what they were measured with."""

import dataclasses

import pytest

from editor.evaluation.tasks import load_tasks
from editor.method.control import control, settled
from editor.reading import read_edit
from editor.request import EditRequest


def chosen(source: str, target: str, preset: str = "balanced", **values: object):
    return control(read_edit(source, target), EditRequest.from_preset(preset, **values))


COLOUR = ("a red car on the road", "a blue car on the road")
SUBJECT = ("a dog runs on the grass.", "a cat runs on the grass.")
UNSURE = ("a jeep car on the road", "a sports car on the road")
PLACE = ("a red car on the road", "a red car in the snow")


@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_shapes_are_held_for_a_colour_and_given_up_for_a_subject(preset):
    colour, subject, unsure = (chosen(*pair, preset=preset, replace_window=0.8) for pair in (COLOUR, SUBJECT, UNSURE))
    assert (colour.window[1], colour.self_window) == (0.8, (0.0, 1.0))
    assert subject.window[1] == 0 and subject.self_window == (0.0, 0.0) and not subject.kept
    assert unsure.window[1] <= 0.5 and unsure.self_window == (0.0, 0.5)


def test_the_paper_knows_no_kinds_of_edits():
    for pair in (COLOUR, SUBJECT, UNSURE, PLACE):
        found = chosen(*pair, preset="paper")
        assert (found.window, found.self_window, found.guidance, found.kept) == ((0.0, 0.8), (0.0, 0.0), 7.5, ())


def test_a_pin_needs_the_blend_that_does_it():
    assert chosen(*PLACE).kept == (2,)
    assert chosen(*PLACE, blend=False).kept == chosen(*PLACE, kept_window=0.1).kept == ()


def test_a_narrower_window_of_the_request_is_never_widened():
    found = chosen(*UNSURE, replace_window=0.1, self_attention_window=(0.0, 0.2))
    assert (found.window, found.self_window) == ((0.0, 0.1), (0.0, 0.2))


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (COLOUR, "“red” becomes “blue” (colour or quality). Shapes are held on all steps."),
        (UNSURE, "shapes are held on the first half of the steps only"),
        (SUBJECT, "“dog” becomes “cat” (subject). Shapes may change."),
        (PLACE, "The car stays as in the clip on the first 60% of the steps."),
    ],
)
def test_what_will_be_done_is_said(pair, said):
    assert said in chosen(*pair).meaning


def test_where_shapes_may_change_it_is_said_how_long_the_layout_is_followed():
    said = "Shapes may change; the layout of the clip is followed on the first 30% of the steps."
    assert said in chosen(*SUBJECT, replace_window=0.8, subject_window=0.3).meaning
    assert "the source's text maps are not used" in chosen(*SUBJECT, replace_window=0.8).note


@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_the_plans_of_the_evaluations_tasks_stay(preset):
    """What they were when the presets' numbers were found; see LOG.md, 2026-11-28."""
    request = EditRequest.from_preset(preset)
    scale = request.guidance_scale
    for task in load_tasks():
        found = control(read_edit(task.source_prompt, task.target_prompt), request)
        window = request.replace_window if found.method == "replace" else request.refine_window
        windows, strength = {
            "color": ((window, 1.0), (scale, False)),
            "subject": ((0.0, 0.0), (pytest.approx(2.2 * scale), False)),
            "place": ((window, 0.0), (pytest.approx(1.55 * scale), bool(found.kept))),
            "look": ((window, 1.0), (scale, False)),
        }[task.kind]
        assert (found.window[1], found.self_window[1]) == windows, task
        assert (found.guidance, bool(found.kept)) == strength, task
        assert found.kept if task.kind == "place" and task.source.look == "plain" else True, task


@pytest.mark.parametrize(
    ("targets", "steps"),
    [
        (("a blue car on the road",), 9),
        (("a blue car on the road", "a red bus on the road"), 9),
        (("a red car in the snow",), 20),
        (("a red car on the road at night",), 20),
        (("a red car on the road as a pencil sketch",), 20),
        (("a blue car on the road", "a blue car in the snow"), 20),  # one inversion for both
    ],
)
def test_the_words_decide_the_number_of_steps(targets, steps):
    asked = EditRequest(source="a red car on the road", targets=targets, steps=20, swap_steps=9)
    assert (settled(asked).steps, settled(settled(asked)).steps) == (steps, steps)
    assert settled(dataclasses.replace(asked, swap_steps=0)).steps == 20


def test_steps_that_were_asked_for_hold_for_every_edit():
    asked = {"source": "a red car on the road", "targets": ("a blue car on the road",)}
    assert settled(EditRequest.from_preset("balanced", steps=11, **asked)).steps == 11
