"""Configurations as data, and attempts at tasks: the yardsticks, the stages of the pipeline, and what they cost."""

import json

import numpy as np
import pytest

from editor.evaluation.attempts import attempt, round_trip, sdedit
from editor.evaluation.configurations import (
    FRAME_COUNTS,
    GRID,
    Configuration,
    baselines,
    by_gain,
    presets,
    read_grid,
    tuned_paper,
)
from editor.evaluation.tasks import draw, load_tasks
from editor.events import EditError
from editor.request import PRESETS, EditRequest
from editor.stages.cache import InversionCache

EVERY = (*presets(), *baselines(), *FRAME_COUNTS)


def test_names_are_unique_and_presets_are_all_there():
    assert len({c.name for c in EVERY}) == len(EVERY)
    assert [c.name for c in presets()] == list(PRESETS)


@pytest.mark.parametrize("configuration", (*EVERY, *read_grid()), ids=lambda c: c.name)
def test_every_configuration_makes_a_valid_request(configuration):
    tasks = load_tasks("report", 4)
    request = configuration.request(tasks, "demo")
    assert request.source == tasks[0].source_prompt
    assert request.targets == tuple(task.target_prompt for task in tasks)
    assert request.max_frames == configuration.frames
    for name, value in configuration.fields.items():
        assert getattr(request, name) == value


def test_an_ablation_differs_from_its_preset_in_its_fields_alone():
    for configuration in baselines():
        if configuration.how == "edit":
            plain = EditRequest.from_preset(configuration.preset).to_dict()
            changed = EditRequest.from_preset(configuration.preset, **configuration.fields).to_dict()
            assert {name for name in plain if plain[name] != changed[name]} <= set(configuration.fields)


def test_each_module_of_the_paper_has_an_ablation():
    fields = {name: value for c in baselines() if c.preset == "paper" for name, value in c.fields.items()}
    assert fields["frame_attention"] == "own" and fields["inversion"] == "ddim"
    assert fields["replace_window"] == 0 and fields["refine_window"] == 0
    assert fields["spatial_pixel_weight"] > 0 and fields["spatial_gradient_weight"] > 0


def test_settings_tell_configurations_apart():
    yardsticks = [c for c in EVERY if c.how in ("source", "vae", "truth")]
    assert all(c.settings() == {} for c in yardsticks)
    paper = next(c for c in EVERY if c.name == "paper").settings()
    without = next(c for c in EVERY if c.name == "paper_without_null_text").settings()
    assert paper["inversion"] == "null_text" and without["inversion"] == "ddim"
    assert {k: v for k, v in paper.items() if k != "inversion"} == {
        k: v for k, v in without.items() if k != "inversion"
    }


def test_rows_are_sorted_by_preset_and_gain():
    rows = [{"preset": p, "gains": {"all": g}} for p, g in (("b", 9.0), ("a", None), ("a", -1.0), ("a", 2.0))]
    assert [row["gains"]["all"] for row in sorted(rows, key=by_gain)] == [2.0, -1.0, None, 9.0]


def test_the_search_tunes_the_papers_guidance():
    rows = [
        {"preset": "paper", "fields": {"guidance_scale": 3.0}, "gains": {"all": 1.0}},
        {"preset": "paper", "fields": {"guidance_scale": 5.0}, "gains": {"all": 2.0}},
        {"preset": "paper", "fields": {"guidance_scale": 9.0, "steps": 10}, "gains": {"all": 8.0}},
        {"preset": "balanced", "fields": {"guidance_scale": 4.0}, "gains": {"all": 9.0}},
    ]
    assert tuned_paper(rows)[0].fields == {"guidance_scale": 5.0}
    assert tuned_paper([]) == () == tuned_paper([{**rows[0], "gains": {"all": None}}])


def test_the_grid_lists_what_is_searched():
    grid = read_grid()
    varied = {name for configuration in grid for name in configuration.fields}
    wanted = {"inversion", "steps", "guidance_scale", "guidance_stop", "frame_attention", "dense_layers"}
    wanted |= {"replace_window", "refine_window", "blend", "spatial_pixel_weight", "spatial_gradient_weight"}
    assert wanted | {"residual", "guidance_base", "self_attention", "setting_guidance", "subject_guidance"} <= varied
    assert GRID.is_file() and tuned_paper([{"preset": c.preset, "fields": c.fields, "gains": {"all": 0}} for c in grid])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "lists nothing"),
        ('[{"fields": {}}]', "cannot be read"),
        ('[{"name": "a", "fields": {}}, {"name": "a", "fields": {}}]', "lists a"),
        ('[{"name": "../up", "fields": {}}]', "lists ../up"),
        ('[{"name": "a", "fields": {"no_such_field": 1}}]', "no_such_field"),
        ('[{"name": "a", "fields": {"guidance_scale": 1000}}]', "guidance_scale"),
        ('[{"name": "a", "fields": {}, "first": 0}]', "first 0"),
        ('[{"name": "a", "fields": {}, "first": "4"}]', "first '4'"),
    ],
)
def test_an_unusable_grid_is_refused_in_words(tmp_path, text, said):
    path = tmp_path / "grid.json"
    path.write_text(text)
    with pytest.raises(EditError, match=said.replace(".", "[.]")):
        read_grid(path)


def test_a_missing_grid_is_said(tmp_path):
    with pytest.raises(EditError, match="must look like"):
        read_grid(tmp_path / "none.json")


def test_windows_in_a_grid_are_lists_in_json(tmp_path):
    path = tmp_path / "grid.json"
    path.write_text(json.dumps([{"name": "late", "fields": {"residual_window": [0.5, 1.0]}}]))
    assert read_grid(path)[0].fields["residual_window"] == (0.5, 1.0)


TASKS = load_tasks("report", 4)
STEPS = {"steps": 4, "guidance_stop": 1.0, "family": "drawn"}  # the tiny model, with the built-in one's numbers
EDIT = Configuration("short", "four steps", fields=STEPS, frames=2)


@pytest.fixture(scope="module")
def drawn(models):
    return [draw(task, 2, models.native_size) for task in TASKS]


@pytest.fixture(scope="module")
def edited(models):
    return attempt(EDIT, TASKS, models)


def test_the_untouched_clip_is_untouched(models, drawn):
    attempts = attempt(Configuration("untouched", "", "source", frames=2), TASKS, models)
    assert [o.task for o in attempts] == list(TASKS)
    assert all(np.array_equal(o.frames, d.source) for o, d in zip(attempts, drawn, strict=True))
    assert all(o.stage_unet_evaluations == {} for o in attempts)


def test_round_trips_are_the_vaes(models, drawn):
    clip = attempt(Configuration("vae", "", "vae", frames=2), TASKS, models)
    truth = attempt(Configuration("truth", "", "truth", frames=2), TASKS, models)
    assert np.array_equal(clip[0].frames, round_trip(drawn[0].source, models))
    assert all(np.array_equal(o.frames, round_trip(d.truth, models)) for o, d in zip(truth, drawn, strict=True))


def test_an_edit_has_frames_costs_and_a_trace(edited, drawn):
    for made in edited:
        assert made.frames.shape == drawn[0].source.shape and made.frames.dtype == np.uint8
        assert len(made.trace) == 4 and min(made.trace) > 0
        # inversion 1 a step; source, guidance's base and target 3 a step
        assert made.stage_unet_evaluations == {"invert": 4.0, "null_text": 0.0, "edit": 12.0}
        assert made.seconds > 0


def test_a_task_gives_the_same_alone(models, edited):
    alone = attempt(EDIT, TASKS[1:2], models)[0]
    # another batch size, another order of sums: a level at most after rounding
    assert np.abs(alone.frames.astype(int) - edited[1].frames).max() <= 1
    assert alone.stage_unet_evaluations == edited[1].stage_unet_evaluations


def test_inversions_are_shared_between_configurations(models, edited, tmp_path):
    cache = InversionCache(tmp_path, 10**9)
    first = attempt(EDIT, TASKS, models, cache)
    stored = sorted(tmp_path.iterdir())
    second = attempt(
        Configuration("weaker", "", fields={**STEPS, "guidance_scale": 3.0}, frames=2), TASKS, models, cache
    )
    assert len(stored) == 1 and sorted(tmp_path.iterdir()) == stored
    assert np.array_equal(first[0].frames, edited[0].frames)
    assert second[0].stage_unet_evaluations["invert"] == 4.0  # counted although it came from the cache
    assert not np.array_equal(second[0].frames, first[0].frames)


def test_the_fit_of_the_null_text_is_counted_from_the_cache_too(models, tmp_path):
    cache = InversionCache(tmp_path, 10**9)
    fields = {
        "inversion": "null_text",
        "guidance_base": "empty",
        "setting_guidance": 1.0,
        "subject_guidance": 1.0,
        **STEPS,
    }
    costs = [
        attempt(Configuration("fit", "", fields=fields, frames=2), TASKS[:1], models, cache)[0].stage_unet_evaluations
        for _ in range(2)
    ]
    assert costs[0] == pytest.approx(costs[1]) and costs[0]["null_text"] > 0


def test_the_loss_runs_where_it_is_asked_for(models, edited):
    fields = {**STEPS, "spatial_pixel_weight": 5.0, "spatial_every": 1}
    made = attempt(Configuration("loss", "", fields=fields, frames=2), TASKS, models)
    assert not np.array_equal(made[3].frames, edited[3].frames)


def test_the_reconstruction_is_measured_when_asked(models, edited):
    made = attempt(Configuration("checked", "", fields=STEPS, frames=2, check_reconstruction=True), TASKS[:1], models)[
        0
    ]
    vae = attempt(Configuration("vae", "", "vae", frames=2), TASKS[:1], models)[0].frames
    from editor.evaluation.metrics import psnr

    clip = draw(TASKS[0], 2, models.native_size).source
    # pinned, guided away from the source prompt: the clip comes back exactly, up to the rounding of a level
    assert made.reconstruction_psnr == pytest.approx(psnr(vae, clip), abs=0.05)
    assert edited[0].reconstruction_psnr is None


def test_sdedit_edits_every_frame_by_itself(models, drawn):
    request = Configuration("noised", "", "sdedit", fields={"steps": 5, "guidance_scale": 4.0}).request(TASKS, "demo")
    both, evaluations = sdedit(drawn[0].source, request, 0.6, models)
    one, _ = sdedit(drawn[0].source[:1], request, 0.6, models)
    assert evaluations == 2 * 3  # three of five steps, with guidance
    assert len(both) == len(TASKS)
    assert np.abs(one[0][0].astype(int) - both[0][0]).max() <= 1  # another batch size: a level after rounding


def test_sdedit_with_little_noise_returns_the_clip(models, drawn):
    request = Configuration("noised", "", "sdedit", fields={"steps": 20}).request(TASKS, "demo")
    (weak, *_), _ = sdedit(drawn[0].source, request, 0.05, models)
    (strong, *_), _ = sdedit(drawn[0].source, request, 1.0, models)
    clip = round_trip(drawn[0].source, models).astype(int)
    assert np.abs(weak - clip).mean() < np.abs(strong - clip).mean()
