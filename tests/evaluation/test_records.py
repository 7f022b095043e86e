"""Results on disk, and whether they agree with others."""

import json
from dataclasses import replace

import numpy as np
import pytest

from editor.evaluation.configurations import FRAME_COUNTS, baselines, presets
from editor.evaluation.records import (
    COMMITTED,
    TOLERANCES,
    Record,
    Store,
    differences,
    fingerprint,
    rounded,
    same_settings,
)
from editor.evaluation.summary import summarise
from editor.evaluation.tasks import load_tasks
from editor.request import EditRequest
from editor.settings import ROOT

TASK = load_tasks("report", 4)[0]
METRICS = {
    **{"psnr": 20.0, "ssim": 0.8, "unchanged_psnr": 30.0, "unchanged_ssim": 0.9, "changed_psnr": 12.0},
    **{"changed_ssim": 0.5, "sharpness": 1.0, "color_error": 8.0, "temporal_error": 4.0, "warp_error": 6.0},
    "classified": 1.0,
}


def record(**changes):
    values = {
        "configuration": "balanced",
        "task": TASK.id,
        "kind": TASK.kind,
        "frames": 2,
        "fingerprint": "0" * 16,
        "model": "demo",
        "revision": "sha256:1",
        "settings": {"steps": 25, "residual_window": [0.0, 1.0]},
        "metrics": METRICS,
        "identified": "blue",
        "right": True,
        "stage_unet_evaluations": {"invert": 25.0, "null_text": 0.0, "edit": 65.0},
        "reconstruction_psnr": 28.0,
        "trace": (0.5, 0.25),
        "seconds": 1.0,
        "notes": ("a note",),
    }
    return Record(**{**values, **changes})


def test_a_record_reads_back(tmp_path):
    store = Store(tmp_path)
    store.put([record(), record(task="another", reconstruction_psnr=None)])
    assert store.read("balanced") == {TASK.id: record(), "another": record(task="another", reconstruction_psnr=None)}
    assert (
        list(store) == [record(task="another", reconstruction_psnr=None), record()]
        and record().unet_evaluations_per_frame == 90
    )


def test_settings_stand_once_in_a_file(tmp_path):
    store = Store(tmp_path)
    store.put([record()])
    store.put([record(task="another"), record(reconstruction_psnr=7.0)])
    assert store.path("balanced").read_text().count("residual_window") == 1
    assert store.read("balanced") == {TASK.id: record(reconstruction_psnr=7.0), "another": record(task="another")}


def test_records_of_other_settings_are_dropped(tmp_path):
    store = Store(tmp_path)
    store.put([record(), record(task="another")])
    store.put([record(settings={"steps": 7})])
    assert list(store) == [record(settings={"steps": 7})]


def test_numbers_are_rounded_for_short_files(tmp_path):
    store = Store(tmp_path)
    store.put([record(reconstruction_psnr=1 / 3)])
    assert store.read("balanced")[TASK.id].reconstruction_psnr == 0.3333


def test_frames_are_kept_beside(tmp_path):
    store = Store(tmp_path / "records", tmp_path / "pictures")
    frames = np.zeros((2, 32, 48, 3), np.uint8)
    frames[1] = 200
    store.keep_frames("balanced", TASK.id, frames)
    kept = store.frames("balanced", TASK.id, 2)
    assert kept.shape == frames.shape and np.abs(kept.astype(int) - frames).max() < 8  # lightly compressed
    assert store.frames("balanced", "another", 2) is None
    assert store.frames("balanced", TASK.id, 3) is None  # not frames of this clip
    assert Store(tmp_path / "records").frames("balanced", TASK.id, 2) is None


@pytest.mark.parametrize("damage", ['{"task": "color-01"', '{"unknown": 1}', "[]", "1"])
def test_a_damaged_line_counts_as_absent(tmp_path, damage):
    store = Store(tmp_path)
    store.put([record(), record(task="another")])
    path = store.path("balanced")
    head, whole, _ = path.read_text().splitlines()
    path.write_text(f"{head}\n{whole}\n{damage}\n")
    assert set(store.read("balanced")) == {"another"}
    path.write_text(f"{damage}\n{whole}\n")
    assert store.read("balanced") == {} and list(store) == []


def test_a_record_is_of_what_its_result_depends_on():
    paper, balanced, _ = presets()
    made = record(settings=balanced.settings(), frames=balanced.frames, fingerprint=fingerprint(TASK))
    assert made.is_of(balanced, TASK, "demo", "sha256:1")
    assert made.is_of(replace(balanced, about="other words", name="another"), TASK, "demo", "sha256:1")
    for other in (paper, replace(balanced, frames=4), replace(balanced, fields={"steps": 7})):
        assert not made.is_of(other, TASK, "demo", "sha256:1")
    assert not made.is_of(balanced, TASK, "demo", "sha256:2")
    assert not made.is_of(balanced, replace(TASK, target_prompt="another"), "demo", "sha256:1")


def test_a_setting_that_did_not_exist_then_stood_at_its_default():
    kept = {"steps": 26}
    assert same_settings(kept, {"steps": 26, "blend": EditRequest().blend})
    assert not same_settings(kept, {"steps": 26, "blend": not EditRequest().blend})
    assert not same_settings({**kept, "a_setting_that_went": 1}, {"steps": 26})


def test_a_record_that_lacks_a_measure_is_not_complete():
    older = {name: value for name, value in METRICS.items() if name not in ("sharpness", "color_error")}
    assert record().complete and not record(metrics=older).complete


def compared(tmp_path, **changes):
    store = Store(tmp_path)
    store.put([record()])
    return differences([record(**changes)], store)


def test_equal_results_agree(tmp_path):
    assert compared(tmp_path) == (1, [])
    assert differences([record(task="another")], Store(tmp_path)) == (0, [])


@pytest.mark.parametrize(
    "name", [n for n in TOLERANCES if n not in ("unet_evaluations_per_frame", "reconstruction_psnr")]
)
def test_a_number_may_differ_by_its_tolerance(tmp_path, name):
    within = {**METRICS, name: METRICS[name] + 0.9 * TOLERANCES[name]}
    beyond = {**METRICS, name: METRICS[name] - 1.1 * TOLERANCES[name]}
    assert compared(tmp_path, metrics=within) == (1, [])
    _, said = compared(tmp_path, metrics=beyond)
    assert len(said) == 1 and name in said[0] and TASK.id in said[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identified": "red", "right": False}, "recognised as red"),
        ({"stage_unet_evaluations": {"edit": 91.0}}, "unet_evaluations_per_frame"),
        ({"reconstruction_psnr": None}, "reconstruction_psnr is None"),
        ({"fingerprint": "1" * 16}, "other settings"),
        ({"revision": "sha256:2"}, "other settings"),
        ({"settings": {"steps": 7}}, "other settings"),
    ],
)
def test_what_differs_is_said(tmp_path, changes, said):
    count, sentences = compared(tmp_path, **changes)
    assert count == 1 and len(sentences) == 1 and said in sentences[0]


def test_a_measure_that_the_committed_result_lacks_is_not_compared(tmp_path):
    older = {name: value for name, value in METRICS.items() if name not in ("sharpness", "color_error")}
    store = Store(tmp_path)
    store.put([record(metrics=older)])
    assert differences([record()], store) == (1, [])
    assert differences([record(metrics={**METRICS, "psnr": 30.0})], store)[1]


def test_the_committed_results_are_of_the_present_settings():
    known = {c.name: c for c in (*presets(), *baselines(), *FRAME_COUNTS)}
    tasks = {task.id: task for task in load_tasks("report")}
    for kept in Store(COMMITTED):
        assert kept.fingerprint == fingerprint(tasks[kept.task]) and kept.model == "demo"
        if kept.configuration != "paper_tuned":  # made by a search, not listed
            wanted = rounded(known[kept.configuration].settings())
            assert same_settings(kept.settings, wanted), (
                f"{kept.configuration}: measure anew, its settings have changed"
            )


COLUMNS = {
    "`balanced`": "balanced",
    "`fast`": "fast",
    "`paper`": "paper",
    "`paper`, guidance 1.5": "paper_tuned",
    "clip untouched": "untouched",
    "right answer after the round trip": "truth_round_trip",
}
"""Columns of the published tables and whose numbers they are."""
ROWS = {
    "psnr of the part that must stay": ("unchanged_psnr", "{:.1f} dB"),
    "psnr of the changed part": ("changed_psnr", "{:.1f} dB"),
    "psnr": ("psnr", "{:.1f} dB"),
    "recognised": ("identification", ""),
    "temporal error": ("temporal_error", "{:.1f}"),
    "sharpness": ("sharpness", "{:.2f}"),
    "colour error": ("color_error", "{:.1f}"),
    "unet evaluations": ("unet_evaluations_per_frame", "{:.0f}"),
}
"""How a row of them begins, its measure and its format."""


def published(text):
    """(row, column, cell) of every table of results in a README, empty cells left out."""
    columns = ()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[1:] and set(cells[1:]) <= set(COLUMNS):
            columns = cells[1:]
        elif not cells:
            columns = ()
        elif columns and not cells[1].startswith("---"):
            yield from ((cells[0], name, cell) for name, cell in zip(columns, cells[1:], strict=True) if cell)


@pytest.mark.parametrize("name", ["README.md", "editor/evaluation/README.md"])
def test_published_tables_are_the_committed_results(name):
    found = list(published((ROOT / name).read_text(encoding="utf-8")))
    assert len(found) > 8
    for row, column, cell in found:
        key, form = next(value for start, value in ROWS.items() if row.lower().startswith(start))
        summary = summarise(list(Store(COMMITTED).read(COLUMNS[column]).values()))
        if key == "identification":
            shares = [f"{100 * share:.0f}" for share in summary[key].values()]
            expected = f"{shares[0]} %" if len(set(shares)) == 1 else " / ".join(shares) + " %"
        else:
            expected = form.format(summary[key])
        assert cell == expected, f"{name}: {row}, {column}"


def test_what_is_published_of_carried_edits_is_committed():
    tasks = json.loads((COMMITTED / "full-rate-balanced.json").read_text(encoding="utf-8"))["tasks"]
    assert len(tasks) == 24
    everyone, few, right = (
        np.mean([rows[name]["warp"] for rows in tasks.values()]) for name in ("all", "agreed_3", "truth")
    )
    said = " ".join((ROOT / "editor/evaluation/README.md").read_text(encoding="utf-8").split())
    assert f"falls from {everyone:.1f} to {few:.1f}, of which the right answer itself has {right:.1f}" in said
    steadier = 1 - np.mean([r["agreed_3"]["temporal"] for r in tasks.values()]) / np.mean(
        [r["all"]["temporal"] for r in tasks.values()]
    )
    assert f"the temporal error is {100 * steadier:.0f} % lower" in said


def test_what_is_published_in_sentences_is_committed():
    said = " ".join((ROOT / "editor/evaluation/README.md").read_text(encoding="utf-8").split())
    store = Store(COMMITTED)
    alone, together = store.read("frame_by_frame"), store.read("balanced")
    less = {
        key: 1 - np.mean([together[t].metrics[key] for t in alone]) / np.mean([r.metrics[key] for r in alone.values()])
        for key in ("temporal_error", "warp_error")
    }
    temporal, warping = (f"{100 * part:.0f} %" for part in less.values())
    assert f"takes away {temporal} of temporal and {warping} of warping error ({len(alone)} tasks)" in said
    noised = summarise(list(store.read("sdedit").values()))
    reached = f"reaches {noised['psnr']:.1f} dB, and {noised['unchanged_psnr']:.1f} dB in the part that must stay"
    assert f"{reached} ({len(store.read('sdedit'))} tasks)" in said
    other = list(Store(COMMITTED / "seed-7").read("balanced").values())
    shares = " / ".join(f"{100 * share:.0f}" for share in summarise(other)["identification"].values())
    assert f"On {len(other)} tasks of another seed (`--task-seed 7`) `balanced` is recognised in {shares} %" in said
