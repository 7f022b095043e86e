"""Results on disk, and whether they agree with others."""

from dataclasses import replace

import numpy as np
import pytest

from editor.evaluation.compare import TOLERANCES, differences
from editor.evaluation.configurations import FRAME_COUNTS, baselines, presets
from editor.evaluation.records import MEASURED, Record, Store, fingerprint
from editor.evaluation.tasks import load_tasks

TASK = load_tasks("report", 4)[0]
METRICS = {
    **{"psnr": 20.0, "ssim": 0.8, "unchanged_psnr": 30.0, "unchanged_ssim": 0.9, "changed_psnr": 12.0},
    **{"changed_ssim": 0.5, "temporal_error": 4.0, "warp_error": 6.0},
}


def record(**changes):
    values = {
        "configuration": "balanced",
        "task": TASK.id,
        "kind": TASK.kind,
        "frames": 2,
        "fingerprint": "0" * 16,
        "model": "demo",
        "settings": {"steps": 25, "residual_window": [0.0, 1.0]},
        "metrics": METRICS,
        "identified": "blue",
        "right": True,
        "evaluations": {"invert": 25.0, "null_text": 0.0, "edit": 65.0},
        "rebuilt": 28.0,
        "trace": (0.5, 0.25),
        "seconds": 1.0,
        "notes": ("a note",),
    }
    return Record(**{**values, **changes})


def test_a_record_reads_back(tmp_path):
    store = Store(tmp_path)
    store.put(record())
    assert store.get("balanced", TASK.id) == record()
    assert list(store) == [record()] and record().cost == 90


def test_numbers_are_rounded_for_short_files(tmp_path):
    store = Store(tmp_path)
    store.put(record(rebuilt=1 / 3))
    assert store.get("balanced", TASK.id).rebuilt == 0.3333


def test_frames_are_kept_beside(tmp_path):
    store = Store(tmp_path / "records", tmp_path / "pictures")
    frames = np.zeros((2, 32, 48, 3), np.uint8)
    frames[1] = 200
    store.put(record(), frames)
    kept = store.frames("balanced", TASK.id)
    assert kept.shape == frames.shape and np.abs(kept.astype(int) - frames).max() < 8  # lightly compressed
    assert store.frames("balanced", "another") is None
    assert Store(tmp_path / "records").frames("balanced", TASK.id) is None


def test_a_damaged_file_counts_as_absent(tmp_path):
    store = Store(tmp_path)
    store.put(record())
    store.path("balanced", TASK.id).write_text('{"configuration": "balanced"')
    assert store.get("balanced", TASK.id) is None
    store.path("balanced", TASK.id).write_text('{"unknown": 1}')
    assert store.get("balanced", TASK.id) is None and list(store) == []


def test_a_fingerprint_names_what_a_result_depends_on():
    balanced, paper = presets()[1], presets()[0]
    known = fingerprint(balanced, TASK, "sha256:1")
    assert known == fingerprint(replace(balanced, about="other words", name="another name"), TASK, "sha256:1")
    others = {
        fingerprint(paper, TASK, "sha256:1"),
        fingerprint(balanced, TASK, "sha256:2"),
        fingerprint(balanced, replace(TASK, target_prompt="another"), "sha256:1"),
        fingerprint(replace(balanced, frames=4), TASK, "sha256:1"),
        fingerprint(replace(balanced, fields={"steps": 7}), TASK, "sha256:1"),
    }
    assert len(others) == 5 and known not in others


def compared(tmp_path, **changes):
    store = Store(tmp_path)
    store.put(record())
    return differences([record(**changes)], store)


def test_equal_results_agree(tmp_path):
    assert compared(tmp_path) == (1, [])
    assert differences([record(task="another")], Store(tmp_path)) == (0, [])


@pytest.mark.parametrize("name", [n for n in TOLERANCES if n not in ("cost", "rebuilt")])
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
        ({"evaluations": {"edit": 91.0}}, "cost"),
        ({"rebuilt": None}, "rebuilt is None"),
        ({"fingerprint": "1" * 16}, "other settings"),
    ],
)
def test_what_differs_is_said(tmp_path, changes, said):
    count, sentences = compared(tmp_path, **changes)
    assert count == 1 and len(sentences) == 1 and said in sentences[0]


def test_the_committed_results_are_of_the_present_settings():
    known = {c.name: c for c in (*presets(), *baselines(), *FRAME_COUNTS)}
    tasks = {task.id for task in load_tasks("report")}
    for kept in Store(MEASURED):
        assert kept.task in tasks and kept.model == "demo"
        if kept.configuration != "paper_tuned":  # made by a search, not listed
            wanted = {
                k: list(v) if isinstance(v, tuple) else v for k, v in known[kept.configuration].settings().items()
            }
            assert kept.settings == wanted, f"{kept.configuration}: measure anew, its settings have changed"
