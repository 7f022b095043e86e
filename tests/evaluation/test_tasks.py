"""The listed tasks: fixed, fair to both halves, never trained on, and with masks that mean what they say."""

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from editor.demo.dataset import UNSEEN_SEED, held_out
from editor.demo.vocabulary import DARK_PLACES, unknown_words
from editor.evaluation.tasks import (
    FILE,
    HALVES,
    KINDS,
    alternatives,
    as_json,
    by_clip,
    draw,
    load_tasks,
    make_tasks,
)
from editor.events import EditError

TASKS = load_tasks()


def test_the_file_is_what_the_function_writes():
    assert FILE.read_text(encoding="utf-8") == as_json(make_tasks())
    assert make_tasks() == TASKS


def test_another_seed_makes_other_clips_in_the_same_way():
    other = load_tasks("report", 24, seed=7)
    assert other == tuple(t for t in make_tasks(7) if t.half == "report")[:24]
    assert Counter(task.kind for task in other) == dict.fromkeys(KINDS, 6)
    assert not {t.source.seed for t in other} & {t.source.seed for t in TASKS}
    assert all(task.source.seed >= UNSEEN_SEED for task in other)
    assert load_tasks(seed=0) == TASKS
    with pytest.raises(EditError, match="task-seed is -1"):
        load_tasks(seed=-1)


def test_both_halves_have_all_kinds_alike():
    counts = Counter((task.half, task.kind) for task in TASKS)
    assert len(TASKS) >= 48 and set(counts) == {(half, kind) for half in HALVES for kind in KINDS}
    assert len(set(counts.values())) == 1
    assert len({task.id for task in TASKS}) == len(TASKS)


def test_the_halves_share_no_clip():
    seeds = {half: {task.source.seed for task in load_tasks(half)} for half in HALVES}
    assert not seeds["search"] & seeds["report"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_task_changes_one_attribute(task):
    before, after = asdict(task.source), asdict(task.target)
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {task.kind} or (task.kind == "subject" and differing == {"subject", "color"})
    assert task.source.seed >= UNSEEN_SEED
    assert task.source_prompt != task.target_prompt
    assert not unknown_words(f"{task.source_prompt} {task.target_prompt}")
    for scene in (task.source, task.target):
        assert (scene.subject, scene.color, scene.place) not in held_out()
        assert not (scene.look == "sunset" and scene.place in DARK_PLACES)


@pytest.mark.parametrize("task", TASKS[:24], ids=lambda task: task.id)
def test_the_part_that_stays_is_the_same_in_both(task):
    drawn = draw(task, 2, 96)
    if task.kind == "look":
        assert drawn.unchanged is None and drawn.changed is None
        return
    assert np.array_equal(drawn.source[drawn.unchanged], drawn.truth[drawn.unchanged])
    assert not np.array_equal(drawn.source[drawn.changed], drawn.truth[drawn.changed])
    assert not (drawn.unchanged & drawn.changed).any()
    assert drawn.unchanged.any() and drawn.changed.any()


def test_alternatives_hold_the_clip_and_the_right_answer():
    for task in TASKS:
        scenes = alternatives(task)
        assert scenes[str(getattr(task.source, task.kind))] == task.source
        assert scenes[str(getattr(task.target, task.kind))] == task.target
        assert len(set(scenes.values())) == len(scenes)


def test_any_four_first_tasks_are_one_of_each_kind():
    for count in (4, 8):
        assert Counter(task.kind for task in load_tasks("report", count)) == dict.fromkeys(KINDS, count // 4)
    assert [len(group) for group in by_clip(load_tasks("report", 8))] == [4, 4]


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_more_tasks_than_there_are_is_said(count):
    with pytest.raises(EditError, match="Allowed: 1 to 40"):
        load_tasks("report", count)


def test_drawn_clips_can_be_written_to_without_harm():
    task = TASKS[0]
    first = draw(task, 1, 32)
    first.source[:] = 0
    assert draw(task, 1, 32).source.any()
