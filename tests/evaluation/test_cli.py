"""The command: its modes, its JSON, its comparison with committed results, and what it refuses."""

import json
from dataclasses import replace

import pytest

from editor.evaluation import cli, full_rate, session
from editor.evaluation.records import Store
from editor.events import EditError
from editor.request import PRESETS

KEYS = {
    *("psnr", "ssim", "unchanged_psnr", "changed_psnr", "sharpness", "color_error"),
    *("identification", "temporal_error", "unet_evaluations_per_frame"),
}


@pytest.fixture
def evaluate(checkpoint, tmp_path, capsys, monkeypatch):
    """Run the command on the tiny checkpoint, `fast` in two steps; returns its exit code, output and messages."""
    monkeypatch.setitem(PRESETS, "fast", {"steps": 2})

    def call(*flags, model=str(checkpoint)):
        code = cli.main([*flags, "--model", model, "--out", str(tmp_path / "out")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.json"
    rows = [{"name": "two", "fields": {"steps": 2}}, {"name": "three", "fields": {"steps": 3}}]
    path.write_text(json.dumps(rows))
    return path


def test_json_has_the_agreed_keys(evaluate):
    code, out, _ = evaluate("--tasks", "4", "--preset", "fast", "--json")
    found = json.loads(out)
    assert code == 0 and set(found) == {"presets", "baselines"}
    assert set(found["presets"]) == {"fast"}
    assert set(found["baselines"]) == {"untouched", "vae_round_trip", "truth_round_trip"}
    for summary in (*found["presets"].values(), *found["baselines"].values()):
        assert set(summary) == KEYS
        assert set(summary["identification"]) == {"color", "subject", "place", "look"}
    assert found["baselines"]["untouched"]["unchanged_psnr"] == 99.0
    assert found["presets"]["fast"]["unet_evaluations_per_frame"] > 0


def test_another_model_is_measured_but_not_compared(evaluate, tmp_path):
    code, out, err = evaluate("--tasks", "1", "--preset", "fast")
    assert code == 0 and "nothing was compared" in err
    assert "untouched" in out and "evaluations" in out
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000
    with pytest.raises(EditError, match="built-in model"):
        evaluate("--tasks", "1", "--no-run", "--accept")


def test_a_search_prints_its_rows_and_resumes(evaluate, grid, tmp_path):
    code, out, err = evaluate("--search", "--grid", str(grid), "--tasks", "1")
    assert code == 0 and "2 results to measure" in err
    assert {line.split()[0] for line in out.splitlines()} == {"two", "three"}
    code, out, err = evaluate("--search", "--grid", str(grid), "--tasks", "1", "--json")
    rows = json.loads(out)["search"]
    assert "0 results to measure" in err
    assert [row["gains"]["all"] for row in rows] == [None, None], "this grid lacks the preset to compare with"
    assert {row["settings"]["steps"] for row in rows} == {2, 3}


def test_a_later_grid_keeps_the_earlier_rows(evaluate, grid, tmp_path):
    evaluate("--search", "--grid", str(grid), "--tasks", "1")
    grid.write_text(json.dumps([{"name": "four", "fields": {"steps": 4}}]))
    evaluate("--search", "--grid", str(grid), "--tasks", "1")
    kept = json.loads((tmp_path / "out" / "search.json").read_text())
    assert {row["name"] for row in kept} == {"two", "three", "four"}
    earlier = [{k: v for k, v in row.items() if k != "gains"} for row in kept]  # as an earlier version wrote them
    others = [{**row, "revision": "sha256:of other weights"} for row in kept]
    for old in (earlier, others):
        (tmp_path / "out" / "search.json").write_text(json.dumps(old))
        assert evaluate("--search", "--grid", str(grid), "--tasks", "1")[0] == 0
        kept = json.loads((tmp_path / "out" / "search.json").read_text())
        assert {row["name"] for row in kept} == {"four"}


def test_committed_results_are_compared(evaluate, tmp_path, monkeypatch):
    """The round: accept, agree, and say what differs when a committed number is another."""
    monkeypatch.setattr(session, "COMMITTED", tmp_path / "measured")
    monkeypatch.setattr(session.Evaluation, "comparable", True)
    assert "there are none yet" in evaluate("--tasks", "1", "--preset", "fast")[2]
    assert evaluate("--tasks", "1", "--preset", "fast", "--no-run", "--accept")[0] == 0
    code, _, err = evaluate("--tasks", "1", "--preset", "fast")
    assert code == 0 and "all agree" in err
    store = Store(tmp_path / "measured")
    kept = store.read("fast")["color-01"]
    store.put([replace(kept, metrics={**kept.metrics, "psnr": kept.metrics["psnr"] + 3})])
    code, _, err = evaluate("--tasks", "1", "--preset", "fast", "--no-run")
    assert code == 1 and "fast, color-01: psnr is" in err and "differences: 1." in err


def test_tasks_of_another_seed_are_apart_and_in_the_report(evaluate, tmp_path):
    code, out, err = evaluate("--tasks", "1", "--only", "untouched", "--task-seed", "7")
    assert code == 0 and "3 results to measure" in err and "untouched" in out
    assert "made with seed 7." in (tmp_path / "out" / "report-seed-7.html").read_text()
    assert "0 results to measure" in evaluate("--tasks", "1", "--only", "untouched", "--task-seed", "7")[2]
    evaluate("--tasks", "1", "--only", "untouched")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "untouched, listed tasks" in text and "untouched, seed 7" in text
    records = [Store(tmp_path / "out" / "records" / part).read("untouched") for part in ("", "seed-7")]
    assert len({record["color-01"].fingerprint for record in records}) == 2


def test_the_report_of_the_repository_needs_no_run(tmp_path, capsys):
    assert cli.main(["--report", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "untouched" in text and "The search" in text and "Every task of balanced" in text
    assert "measure" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--report",), "built-in model only"),
        (("--tasks", "0"), "tasks is 0"),
        (("--task-seed", "-1"), "task-seed is -1"),
        (("--task-seed", "7", "--search"), "uses the listed tasks"),
        (("--tasks", "1000"), "Allowed: 1 to 40"),
        (("--workers", "0"), "workers is 0"),
        (("--tasks", "1", "--only", "no_such"), "no configuration no_such. Known: paper, balanced"),
    ],
)
def test_what_cannot_be_done_is_said(evaluate, flags, said):
    with pytest.raises(EditError, match=said):
        evaluate(*flags)


def test_an_unknown_model_is_said(evaluate):
    with pytest.raises(EditError, match="no model"):
        evaluate("--tasks", "1", model="no-such-model")


def test_the_main_command_delegates(capsys):
    from editor.cli import main

    with pytest.raises(SystemExit) as left:
        main(["evaluate", "--help"])
    assert left.value.code == 0 and "--search" in capsys.readouterr().out


def test_full_rate_compares_few_edited_frames_with_all(evaluate, tmp_path, monkeypatch):
    compared = full_rate.compared
    monkeypatch.setattr(full_rate, "compared", lambda *given: compared(*given, frames=8, steps=1))
    code, out, _ = evaluate("--full-rate", "--tasks", "2", "--preset", "fast", "--json")
    found = json.loads(out)
    assert code == 0 and len(found["verdicts"]) == 9
    rows = found["full_rate"]
    assert list(rows) == ["truth", "all", *(f"{name}_{s}" for s in (3, 6) for name in ("held", "carried", "agreed"))]
    assert rows["all"]["between"] is None and rows["held_3"]["keyframes"] == rows["carried_3"]["keyframes"]
    assert rows["carried_6"]["evaluations"] == pytest.approx(rows["all"]["evaluations"] * 3 / 8)
    place = tmp_path / "out" / "full-rate-fast.json"
    assert len(json.loads(place.read_text())["tasks"]) == 2
    report = evaluate("--no-run", "--tasks", "2") and (tmp_path / "out" / "report.html").read_text()
    assert "Few frames edited, the rest carried: fast" in report and "every 6th, held until the next" in report
    monkeypatch.setattr(full_rate, "compared", None)
    assert evaluate("--full-rate", "--tasks", "2", "--preset", "fast", "--json")[1] == out, "nothing is done again"
    place.write_text(place.read_text().replace('"agreement": 1', '"agreement": 2'))
    with pytest.raises(TypeError):  # of other settings: measured again
        evaluate("--full-rate", "--tasks", "2", "--preset", "fast")
