"""What is left to do, resuming, progress, and a pool of processes."""

import pytest

from editor.evaluation.configurations import Configuration
from editor.evaluation.harness import Harness
from editor.evaluation.judging import Worker
from editor.evaluation.records import Store
from editor.evaluation.tasks import draw, load_tasks

TASKS = load_tasks("report", 8)
UNTOUCHED = Configuration("untouched", "", "source", frames=2)
SHORT = Configuration("short", "", fields={"steps": 2}, frames=2)


@pytest.fixture
def harness(checkpoint, tmp_path):
    store = Store(tmp_path / "records", tmp_path / "pictures")
    return Harness(str(checkpoint), "sha256:tiny", store, tmp_path / "inversions")


def test_jobs_come_clip_by_clip_with_their_tasks(harness):
    jobs = harness.left([UNTOUCHED, SHORT], TASKS)
    clips = [(job.configuration.name, {task.clip for task in job.tasks}) for job in jobs]
    first, second = TASKS[0].clip, TASKS[4].clip
    assert clips == [("untouched", {first}), ("short", {first}), ("untouched", {second}), ("short", {second})]
    assert [len(job.tasks) for job in jobs] == [4, 4, 4, 4]
    assert jobs[1].work > jobs[0].work


def test_a_configuration_may_ask_for_the_first_tasks_alone(harness):
    few = Configuration("few", "", "source", first=3)
    assert [len(job.tasks) for job in harness.left([few], TASKS)] == [3]


def test_a_run_goes_on_where_it_stopped(harness):
    jobs = harness.left([UNTOUCHED], TASKS)
    harness.run(jobs[:1], 1, lambda text: None)
    left = harness.left([UNTOUCHED], TASKS)
    assert [job.tasks for job in left] == [TASKS[4:]]
    assert harness.left([UNTOUCHED], TASKS, again=True) == jobs
    path = harness.store.path("untouched")
    path.write_text("".join(line for line in path.open() if f'"{TASKS[0].id}"' not in line))
    assert harness.left([UNTOUCHED], TASKS)[0].tasks == TASKS[:1]
    assert [record.task for record in harness.current(UNTOUCHED, TASKS)] == [task.id for task in TASKS[1:4]]


def test_results_of_other_settings_or_weights_are_done_anew(harness, checkpoint):
    harness.run(harness.left([SHORT], TASKS[:1]), 1, lambda text: None)
    other = Configuration("short", "", fields={"steps": 3}, frames=2)
    assert harness.left([SHORT], TASKS[:1]) == [] and len(harness.left([other], TASKS[:1])) == 1
    assert harness.current(other, TASKS[:1]) == []
    moved = Harness(harness.model, "sha256:other", harness.store, harness.inversions)
    assert len(moved.left([SHORT], TASKS[:1])) == 1


def test_every_job_is_told_with_the_time_left(harness):
    said = []
    harness.run(harness.left([UNTOUCHED, SHORT], TASKS[:4]), 1, said.append)
    assert len(said) == 2
    assert said[0].startswith("4/8 results, untouched on clip-01") and said[-1].endswith("0:00 left")
    harness.run([], 1, said.append)
    assert len(said) == 2


def test_a_record_says_what_was_recognised(harness):
    harness.run(harness.left([UNTOUCHED], TASKS[:4]), 1, lambda text: None)
    found = harness.store.read("untouched")
    for task in TASKS[:4]:
        kept = found[task.id]
        assert kept.identified == str(getattr(task.source, task.kind)) and not kept.right
        assert kept.frames == 2 and kept.model == "another" and kept.unet_evaluations_per_frame == 0
        assert kept.metrics["unchanged_psnr"] == (None if task.kind == "look" else 99.0)
        assert harness.store.frames("untouched", task.id, 2) is not None


def test_the_classifier_agrees_with_right_answers_and_not_with_the_clip(harness):
    worker = Worker.load(**vars(harness))
    for task in TASKS[:4]:
        drawn, wanted = draw(task, 4, 96), getattr(task.target, task.kind)
        assert worker.classified(drawn.truth, task.kind, wanted) > 0.7
        assert worker.classified(drawn.source, task.kind, wanted) < 0.3


def test_processes_share_the_work(harness):
    harness.run(harness.left([UNTOUCHED], TASKS), 2, lambda text: None)
    assert {record.task for record in harness.store} == {task.id for task in TASKS}
