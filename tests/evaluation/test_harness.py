"""What is left to do, resuming, progress, a pool of processes; scores by a tiny CLIP of random weights."""

import json

import numpy as np
import pytest
import torch

from editor.evaluation.cli import main
from editor.evaluation.configurations import Configuration
from editor.evaluation.harness import Harness
from editor.evaluation.judging import Evaluator, score_result
from editor.evaluation.records import Store
from editor.evaluation.tasks import draw, load_tasks
from editor.events import EditError
from editor.media import write_video
from editor.stages.quality import ClipScore
from tests import tiny

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
    evaluator = Evaluator.load(**vars(harness))
    for task in TASKS[:4]:
        drawn, wanted = draw(task, 4, 96), getattr(task.target, task.kind)
        assert evaluator.classified(drawn.truth, task.kind, wanted) > 0.7
        assert evaluator.classified(drawn.source, task.kind, wanted) < 0.3


def test_processes_share_the_work(harness):
    harness.run(harness.left([UNTOUCHED], TASKS), 2, lambda text: None)
    assert {record.task for record in harness.store} == {task.id for task in TASKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny.save_clip(tmp_path_factory.mktemp("clip")))


def test_scores_are_cosines(folder):
    score = ClipScore(folder)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    values = score(frames, "a red car")
    inputs = score.processor(text=["a red car"], images=list(frames), return_tensors="pt")
    with torch.no_grad():
        scored = score.model(**inputs)
    scale = score.model.logit_scale.detach().exp()  # logits are cosines times this
    assert values["clip_text"] == pytest.approx(float(100 * (scored.logits_per_image / scale).mean()), abs=1e-3)
    pictures = scored.image_embeds
    first, second = (float(torch.cosine_similarity(pictures[i], pictures[i + 1], dim=0)) for i in (0, 1))
    assert values["clip_frames"] == pytest.approx(50 * (first + second), abs=1e-3)


def test_equal_frames_are_wholly_consistent(folder):
    frames = np.repeat(np.full((1, 32, 32, 3), 90, np.uint8), 3, axis=0)
    assert ClipScore(folder)(frames, "a dog")["clip_frames"] == pytest.approx(100, abs=1e-3)
    assert ClipScore(folder)(frames[:1], "a dog")["clip_frames"] is None


def test_a_folder_without_clip_is_refused_in_words(tmp_path):
    with pytest.raises(EditError, match="no CLIP model"):
        ClipScore(str(tmp_path))
    with pytest.raises(EditError, match="no CLIP model"):  # its weights would be random
        ClipScore(str(tiny.save_checkpoint(tmp_path, "demo") / "text_encoder"))


def test_a_long_sentence_is_scored_as_far_as_clip_reads(folder):
    score, gray = ClipScore(folder), np.full((1, 32, 32, 3), 90, np.uint8)
    score.processor.tokenizer.model_max_length = 10**9  # some do not say theirs
    assert score(gray, "a red car " * 60) == score(gray, "a red car " * 90)


def test_a_finished_edit_is_scored_by_its_manifest(folder, tmp_path):
    frames = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (40, 120, 200)])
    write_video(frames, 8, tmp_path / "edited.mp4")
    (tmp_path / "manifest.json").write_text(json.dumps({"target": "a blue bus", "frames": 3}))
    score = ClipScore(folder)
    values, wanted = score_result(tmp_path, score), score(frames, "a blue bus")
    assert values["clip_text"] == pytest.approx(wanted["clip_text"], abs=0.5)  # the video is compressed
    assert values["clip_frames"] < 99.99  # three grays, not one repeated


def test_a_folder_without_an_edit_is_refused_in_words(folder, tmp_path):
    with pytest.raises(EditError, match="no finished edit"):
        score_result(tmp_path, ClipScore(folder))


def test_scoring_needs_a_clip_model(tmp_path):
    with pytest.raises(EditError, match="add --clip"):
        main(["--score", str(tmp_path)])
