"""Means over tasks, the score of a search, and the goals, against numbers worked out by hand."""

from dataclasses import replace

import pytest

from editor.evaluation.summary import GOALS, details, gains, goals, interval, overall, score, summarise
from tests.evaluation.test_records import METRICS, record


def one(kind, right=True, cost=10.0, clip=1, **metrics):
    values = {**METRICS, **metrics}
    if kind == "look":
        values |= {"unchanged_psnr": None, "changed_psnr": None}
    return record(kind=kind, task=f"{kind}-{clip}", right=right, metrics=values, stage_unet_evaluations={"edit": cost})


RECORDS = [
    one("color", psnr=20.0, unchanged_psnr=30.0, changed_psnr=10.0, temporal_error=1.0),
    one("color", right=False, clip=2, psnr=22.0, unchanged_psnr=32.0, changed_psnr=14.0, temporal_error=2.0),
    one("look", psnr=15.0, temporal_error=3.0),
    one("place", psnr=5.0, unchanged_psnr=25.0, changed_psnr=4.0, temporal_error=6.0, cost=20.0),
]


def test_means_are_over_the_edits_that_they_can_judge():
    summary = summarise(RECORDS)
    assert summary["psnr"] == pytest.approx((20 + 22 + 15) / 3)
    assert summary["unchanged_psnr"] == pytest.approx((30 + 32 + 25) / 3)
    assert summary["changed_psnr"] == pytest.approx(12)
    assert summary["temporal_error"] == pytest.approx(3)
    assert summary["identification"] == {"color": 0.5, "subject": None, "place": 1.0, "look": 1.0}
    assert summary["unet_evaluations_per_frame"] == pytest.approx(12.5)


def test_kinds_count_the_same_in_the_overall_share():
    assert overall(summarise(RECORDS)) == pytest.approx(2.5 / 3, abs=1e-4)


def test_the_score_by_hand():
    recognised = (0.75 * 0.5 + 0.25 + 1 + 1) / 3  # color: half by the nearest picture, all by the classifier
    by_hand = 19 + 29 / 2 + 20 * recognised - 8 / 2 - 3
    assert score(RECORDS) == pytest.approx(by_hand, abs=2e-3)  # means have 4 decimals


def test_the_classifier_counts_a_third_of_the_nearest_picture():
    look = one("look", psnr=15.0, temporal_error=3.0, color_error=0.0)
    assert score([look]) == pytest.approx(15 + 20 - 3)
    assert score([one("look", psnr=15.0, temporal_error=3.0, color_error=0.0, classified=0.0)]) == 15 + 15 - 3
    wrong = replace(look, right=False)
    assert score([wrong]) == pytest.approx(15 + 5 - 3), "however sure the classifier is"


@pytest.mark.parametrize(("sharpness", "lost"), [(1.0, 0.0), (0.5, 5.0), (2.0, 5.0), (0.85, 1.17), (0.0, 20.0)])
def test_blur_and_noise_cost(sharpness, lost):
    assert score([one("look")]) - score([one("look", sharpness=sharpness)]) == pytest.approx(lost, abs=0.01)


def test_blur_in_one_edit_is_not_made_good_by_noise_in_another():
    pair = [one("look", sharpness=0.5), one("look", sharpness=2.0)]
    assert score([one("look")]) - score(pair) == pytest.approx(5)


def test_a_washed_out_color_costs_where_the_truth_is_known():
    assert score([one("color")]) - score([one("color", color_error=12.0)]) == pytest.approx(2)
    assert score([one("subject")]) == score([one("subject", color_error=12.0, sharpness=0.5)])


def test_results_older_than_a_measure_still_have_a_score():
    older = {name: value for name, value in METRICS.items() if name not in ("sharpness", "color_error")}
    look = record(kind="look", metrics=older)
    assert summarise([look])["sharpness"] is None and summarise([look])["color_error"] is None
    assert score([look]) == score([one("look", color_error=0.0, unchanged_psnr=None)]) + METRICS["unchanged_psnr"] / 2


def test_gains_are_on_the_same_tasks():
    better = [replace(r, metrics={**r.metrics, "psnr": r.metrics["psnr"] + 2}) for r in RECORDS]
    found = gains(better[2:], RECORDS)
    assert (found["all"], found["look"], found["place"]) == (2.0, 2.0, 0.0)
    assert found["color"] is None, "no task of this kind"
    assert gains(better, RECORDS[:-1])["place"] is None and gains(better, [])["all"] is None


def test_details_are_none_where_nothing_was_measured():
    found = details(
        [record(reconstruction_psnr=None, metrics={**METRICS, "clip_text": 20.0}), record(reconstruction_psnr=None)]
    )
    assert found["reconstruction_psnr"] is None and found["clip_text"] == 20.0 and found["clip_frames"] is None


SHARP = "balanced: sharpness of colour and look edits, 1 less its distance from 1"


def summaries(**changes):
    """Summaries that reach every goal exactly, or miss one by `changes`."""

    def made(psnr, unchanged, share, temporal, cost, changed=20.0, sharpness=1.0):
        names = dict.fromkeys(("color", "subject", "place", "look"), share)
        return {
            **{"psnr": psnr, "unchanged_psnr": unchanged, "changed_psnr": changed, "temporal_error": temporal},
            **{"sharpness": sharpness, "identification": names, "unet_evaluations_per_frame": cost},
        }

    base = {
        "paper": made(18.0, 24.0, 1.0, 5.0, 500.0),
        "balanced": made(19.5, 27.0, 1.0, 4.0, 100.0, changed=25.0, sharpness=0.85),
        "fast": made(18.0, 24.0, 1.0, 5.0, 60.0),
        "vae_round_trip": made(17.0, 28.5, 0.0, 3.0, 0.0),
        "untouched": made(17.0, 99.0, 0.0, 3.0, 0.0, changed=22.0),
        "frame_by_frame": made(19.0, 27.0, 0.9, 5.0, 100.0),
    }
    for name, values in changes.items():
        base[name] = {**base[name], **values}
    return base


def test_goals_that_are_just_reached():
    assert [goal.text for goal in goals(summaries()) if not goal.reached] == []
    assert len(goals(summaries())) == len(GOALS)


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"balanced": {"psnr": 19.4}}, ["balanced over paper: PSNR to the right answer, dB"]),
        ({"balanced": {"unet_evaluations_per_frame": 101.0}}, ["paper's counted work in balanced's"]),
        ({"fast": {"temporal_error": 5.1}}, ["fast under paper: temporal error, levels"]),
        ({"untouched": {"changed_psnr": 22.1}}, ["balanced over the untouched clip: changed part, dB"]),
        ({"balanced": {"changed_psnr": 25.1, "sharpness": 1.2}}, [SHARP]),
        ({"balanced": {"sharpness": 0.8}}, [SHARP]),
        (
            {"frame_by_frame": {"temporal_error": 4.9}},
            ["temporal error that attention across frames takes away, share"],
        ),
    ],
)
def test_a_missed_goal_is_missed(changes, missed):
    assert [goal.text for goal in goals(summaries(**changes)) if goal.reached is False] == missed


def test_what_was_not_measured_is_not_reached_and_not_missed():
    assert all(goal.reached is None and goal.value is None for goal in goals({}))
    without = summaries(balanced={"psnr": None})
    assert [goal.reached for goal in goals(without)].count(None) == 1


def test_an_interval_is_over_clips_and_holds_the_mean():
    """Ten clips with 0 or 1: the interval of a share is about two standard errors, sqrt(0.25 / 10), to either side."""
    apart = {f"color-{i:02d}": float(i % 2) for i in range(10)}
    low, high = interval(apart)
    assert low == pytest.approx(0.2, abs=0.05) and high == pytest.approx(0.8, abs=0.05)
    assert interval(apart) == (low, high), "the same numbers every time"
    doubled = {f"{kind}-{i:02d}": float(i % 2) for i in range(10) for kind in ("color", "place")}
    assert interval(doubled) == (low, high), "more edits of the same clips say no more"
    assert interval({"color-01": 1.0, "color-02": 2.0}) is None
