"""What the page is told about a job: stage, share of the work, place in the line, results by address."""

from dataclasses import replace
from pathlib import Path

import pytest

from editor.events import EditResult, Stage
from editor.jobs import JobState, JobView
from editor.request import EditRequest
from editor.web.view import page_view, settings_rows

REQUEST = EditRequest.from_preset(
    "balanced", source="a red car", targets=("a blue car",), steps=30, null_text_window=(0.0, 0.5)
)
RUNNING = JobView("a" * 32, JobState.RUNNING, REQUEST.to_dict(), mine=True, created=0.0, started=1.0)


def result(folder=Path("/data/jobs/a/run-1/result/0")):
    summary = {"vae_psnr": 34.25, "frames": 16, "seconds": 12, "reconstruction_psnr": None, "inversion_cached": True}
    return EditResult("a blue car", folder, summary)


def test_no_path_and_no_secret_leaves_the_server():
    done = replace(RUNNING, state=JobState.DONE, results=(result(),), clip=Path("/data/jobs/a/clip.mp4"))
    assert "/data" not in str(page_view(done)) and "owner" not in page_view(done)


def test_files_are_named_below_the_job():
    view = page_view(replace(RUNNING, state=JobState.DONE, results=(result(), result())))
    assert view["results"][1]["edited"] == f"job/{'a' * 32}/1/edited.mp4"


def test_the_share_of_the_work_grows_through_all_stages():
    seen = [
        page_view(replace(RUNNING, stage=stage, done=done, total=4))["fraction"] for stage in Stage for done in range(5)
    ]
    assert seen == sorted(seen) and seen[0] == 0 and 0.9 < seen[-1] < 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"state": JobState.QUEUED, "position": 1}, "Next in line"),
        ({"state": JobState.QUEUED, "position": 4}, "3 ahead of you"),
        ({}, "Loading the model"),
        ({"stage": Stage.EDIT, "done": 3, "total": 25}, "Editing, step 3 of 25"),
        ({"stage": Stage.EDIT, "message": "Started again after a crash."}, "Started again after a crash."),
        ({"stage": Stage.EDIT, "stopping": True}, "Stopping after this step"),
        ({"state": JobState.FAILED, "error": "Too dark."}, "Too dark."),
    ],
)
def test_one_sentence_says_what_is_going_on(changes, line):
    assert page_view(replace(RUNNING, **changes))["line"] == line


def test_a_preview_has_a_new_address_for_new_content():
    first = replace(RUNNING, preview=Path("p.webp"), preview_version=1)
    assert page_view(first)["preview"] != page_view(replace(first, preview_version=2))["preview"]
    assert page_view(RUNNING)["preview"] is None


def test_numbers_are_shown_with_units_and_only_where_known():
    view = page_view(replace(RUNNING, state=JobState.DONE, results=(result(),)))
    shown = {row["label"]: row["value"] for row in view["results"][0]["numbers"]}
    assert shown == {"Autoencoder": "34.2 dB", "Time": "12 s", "Frames": "16", "Inversion": "reused"}


def test_the_recipe_names_what_differs_from_the_preset():
    rows = dict(settings_rows(REQUEST))
    assert rows["Preset"] == "Balanced" and rows["Steps"] == "30" and rows["Null text window"] == "0 to 0.5"
    assert "Guidance scale" not in rows


def test_a_job_of_an_older_version_can_still_be_looked_at():
    view = page_view(replace(RUNNING, request={"source": "a red car", "forgotten_setting": 1}))
    assert view["state"] == "running" and view["settings"] == []
