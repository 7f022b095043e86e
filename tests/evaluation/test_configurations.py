"""Configurations are data: names, fields, and what the grid and the search make of them."""

import json

import pytest

from editor.evaluation.configurations import FRAME_COUNTS, GRID, baselines, by_gain, presets, read_grid, tuned_paper
from editor.evaluation.tasks import load_tasks
from editor.events import EditError
from editor.request import PRESETS, EditRequest

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
