"""The page: everything in it, nothing from outside, and readable with half of the results missing."""

import re

import numpy as np
import pytest

from editor.evaluation.configurations import Configuration
from editor.evaluation.pictures import chosen
from editor.evaluation.records import Store
from editor.evaluation.report import page
from editor.evaluation.tasks import KINDS, load_tasks
from tests.evaluation.test_records import METRICS, record

TASKS = load_tasks("report", 8)
CONFIGURATIONS = (
    Configuration("balanced", "ours"),
    Configuration("paper", "as <published>", preset="paper"),
    Configuration("balanced_4_frames", "fewer", frames=4),
)
ABLATIONS = (
    Configuration("balanced_without_blend", "", ablation=True),
    Configuration("paper_with_loss", "", preset="paper", ablation=True),
)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "records", tmp_path / "pictures")
    rng = np.random.default_rng(0)
    for name in ("balanced", "paper", "balanced_4_frames"):
        for number, task in enumerate(TASKS):
            values = {**METRICS, "psnr": 20.0 + number}
            frames = 4 if name == "balanced_4_frames" else 2
            kept = record(configuration=name, task=task.id, kind=task.kind, frames=frames, metrics=values)
            store.put([kept])
            store.keep_frames(name, task.id, rng.integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8))
    return store


def in_order(store, name="balanced"):
    kept = store.read(name)
    return [kept[task.id] for task in TASKS]


def written(store, searched=(), names=("balanced", "paper", "balanced_4_frames")):
    results = {name: in_order(store, name) for name in names}
    return page(results, CONFIGURATIONS, TASKS, store, searched)


def test_the_page_needs_nothing_from_outside(store):
    text = written(store)
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) >= 3 + 8 and all(source.startswith("data:image/") for source in sources)
    assert "http" not in re.sub(r"data:[^\"]+", "", text)
    assert "<script" not in text and "<link" not in text


def test_the_page_shows_tables_goals_plots_and_sheets(store):
    text = written(store)
    for heading in ("compared with", "goals", "against cost", "number of frames", "Error per step", "median"):
        assert heading in text
    assert "as &lt;published&gt;" in text
    assert "not reached" in text and "not measured" in text
    assert all(f"({task.id})" in text for task in TASKS)  # two of each kind: best and worst
    assert "The search" not in text


def test_an_ablation_is_compared_on_the_tasks_it_shares(store):
    changed = [record(task=r.task, kind=r.kind, metrics={**METRICS, "psnr": 18.0}) for r in in_order(store)[:4]]
    results = {"balanced": in_order(store), "balanced_without_blend": changed}
    text = page(results, ABLATIONS, TASKS, store, ())
    section = text[text.index("With one thing changed") : text.index("The goals")]
    shared = {r.task for r in changed}
    exact = [r.metrics["psnr"] for r in in_order(store) if r.task in shared and r.kind in ("color", "look")]
    assert f"<td>4</td><td>{18 - sum(exact) / len(exact):+.2f}</td>" in section
    assert "paper_with_loss" not in text
    assert "With one thing changed" not in page({}, ABLATIONS, TASKS, store, ())
    assert "balanced_without_blend" not in text.replace(section, "")


def test_a_measure_that_is_younger_than_the_results_was_not_measured(store):
    older = {name: value for name, value in METRICS.items() if name not in ("sharpness", "color_error")}
    records = [record(task=r.task, kind=r.kind, metrics=older) for r in in_order(store)]
    text = page({"balanced": records}, CONFIGURATIONS, TASKS, store, ())
    row = text[text.index("<td>balanced") :]
    row = row[: row.index("</tr>")]
    assert row.count("<td>not measured</td>") == 2
    mixed = page({"balanced": [record(task=TASKS[0].id), *records[1:]]}, CONFIGURATIONS, TASKS, store, ())
    assert "<small>1 of 8</small>" in mixed, "said, so that nobody takes it for the mean of all"


def test_tasks_made_with_another_seed_are_named(store):
    other = [record(task=task.id, kind=task.kind) for task in load_tasks("report", 4, seed=7)]
    text = page({"balanced": in_order(store)}, CONFIGURATIONS, TASKS, store, (), other_seeds={7: {"balanced": other}})
    section = text[text.index("On tasks made with another seed") :]
    assert "with seed 7" in section and section.index("balanced, listed tasks") < section.index("balanced, seed 7")
    assert "made with seed 7." in page({"balanced": other}, CONFIGURATIONS, TASKS, store, (), seed=7)
    assert "another seed" not in written(store)


def test_results_that_were_left_out_are_counted(store):
    assert "left out" not in written(store)
    assert "8 stored results were measured with other settings" in written(store, names=("balanced", "paper"))


def test_the_search_is_shown_best_first(store):
    from editor.evaluation.summary import summarise

    summary = summarise(in_order(store))
    common = {"preset": "balanced", "tasks": 4, "score": 1.0, "summary": summary}
    rows = [
        {**common, "name": name, "fields": {"steps": n}, "gains": {"all": float(n), **dict.fromkeys(KINDS)}}
        for n, name in ((1, "poorest"), (3, "finest"), (2, "middling"))
    ]
    text = written(store, rows)
    assert text.index("finest") < text.index("middling") < text.index("poorest")
    assert "steps 3" in text and "+3.00" in text
    older = {key: value for key, value in summary.items() if key != "color_error"}
    text = written(store, [{**rows[0], "summary": older}, rows[1]])
    assert "were scored before it" in text and "<td>not measured</td>" in text[text.index("The search") :]


def test_a_page_of_nothing_still_reads(tmp_path):
    text = page({}, (), TASKS, Store(tmp_path), [])
    assert "not measured" in text and "No edited frames were kept" in text


def test_best_and_worst_are_of_their_kind(store):
    found = chosen(in_order(store))
    assert set(found) == {f"{kind}, {label}" for kind in KINDS for label in ("best", "median")}
    assert found["color, best"].metrics["psnr"] == 24.0 and found["color, median"].metrics["psnr"] == 20.0


def test_unrecognised_places_are_the_worst():
    right = record(kind="place", task="a", metrics={**METRICS, "unchanged_psnr": 10.0})
    wrong = record(kind="place", task="b", right=False, metrics={**METRICS, "unchanged_psnr": 40.0})
    assert chosen([wrong, right])["place, best"] == right
