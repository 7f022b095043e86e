"""Attempts at tasks: the yardsticks, the method through the stages of the pipeline, and what they cost."""

import numpy as np
import pytest

from editor.evaluation.attempts import attempt, round_trip, sdedit
from editor.evaluation.configurations import Configuration
from editor.evaluation.tasks import draw, load_tasks
from editor.stages.cache import InversionCache

TASKS = load_tasks("report", 4)
STEPS = {"steps": 4, "guidance_stop": 1.0, "family": "drawn"}  # the tiny model, with the built-in one's numbers
EDIT = Configuration("short", "four steps", fields=STEPS, frames=2)


@pytest.fixture(scope="module")
def drawn(models):
    return [draw(task, 2, models.native_size) for task in TASKS]


@pytest.fixture(scope="module")
def edited(models):
    return attempt(EDIT, TASKS, models)


def test_the_untouched_clip_is_untouched(models, drawn):
    attempts = attempt(Configuration("untouched", "", "source", frames=2), TASKS, models)
    assert [o.task for o in attempts] == list(TASKS)
    assert all(np.array_equal(o.frames, d.source) for o, d in zip(attempts, drawn, strict=True))
    assert all(o.stage_unet_evaluations == {} for o in attempts)


def test_round_trips_are_the_vaes(models, drawn):
    clip = attempt(Configuration("vae", "", "vae", frames=2), TASKS, models)
    truth = attempt(Configuration("truth", "", "truth", frames=2), TASKS, models)
    assert np.array_equal(clip[0].frames, round_trip(drawn[0].source, models))
    assert all(np.array_equal(o.frames, round_trip(d.truth, models)) for o, d in zip(truth, drawn, strict=True))


def test_an_edit_has_frames_costs_and_a_trace(edited, drawn):
    for made in edited:
        assert made.frames.shape == drawn[0].source.shape and made.frames.dtype == np.uint8
        assert len(made.trace) == 4 and min(made.trace) > 0
        # inversion 1 a step; source, guidance's base and target 3 a step
        assert made.stage_unet_evaluations == {"invert": 4.0, "null_text": 0.0, "edit": 12.0}
        assert made.seconds > 0


def test_a_task_gives_the_same_alone(models, edited):
    alone = attempt(EDIT, TASKS[1:2], models)[0]
    # another batch size, another order of sums: a level at most after rounding
    assert np.abs(alone.frames.astype(int) - edited[1].frames).max() <= 1
    assert alone.stage_unet_evaluations == edited[1].stage_unet_evaluations


def test_inversions_are_shared_between_configurations(models, edited, tmp_path):
    cache = InversionCache(tmp_path, 10**9)
    first = attempt(EDIT, TASKS, models, cache)
    stored = sorted(tmp_path.iterdir())
    second = attempt(
        Configuration("weaker", "", fields={**STEPS, "guidance_scale": 3.0}, frames=2), TASKS, models, cache
    )
    assert len(stored) == 1 and sorted(tmp_path.iterdir()) == stored
    assert np.array_equal(first[0].frames, edited[0].frames)
    assert second[0].stage_unet_evaluations["invert"] == 4.0  # counted although it came from the cache
    assert not np.array_equal(second[0].frames, first[0].frames)


def test_the_fit_of_the_null_text_is_counted_from_the_cache_too(models, tmp_path):
    cache = InversionCache(tmp_path, 10**9)
    fields = {"inversion": "null_text", "guidance_base": "empty", "setting_guidance": 1.0, **STEPS}
    costs = [
        attempt(Configuration("fit", "", fields=fields, frames=2), TASKS[:1], models, cache)[0].stage_unet_evaluations
        for _ in range(2)
    ]
    assert costs[0] == pytest.approx(costs[1]) and costs[0]["null_text"] > 0


def test_the_loss_runs_where_it_is_asked_for(models, edited):
    fields = {**STEPS, "spatial_pixel_weight": 5.0, "spatial_every": 1}
    made = attempt(Configuration("loss", "", fields=fields, frames=2), TASKS, models)
    assert not np.array_equal(made[3].frames, edited[3].frames)


def test_the_reconstruction_is_measured_when_asked(models, edited):
    made = attempt(Configuration("checked", "", fields=STEPS, frames=2, check_reconstruction=True), TASKS[:1], models)[
        0
    ]
    vae = attempt(Configuration("vae", "", "vae", frames=2), TASKS[:1], models)[0].frames
    from editor.evaluation.metrics import psnr

    clip = draw(TASKS[0], 2, models.native_size).source
    # pinned, guided away from the source prompt: the clip comes back exactly, up to the rounding of a level
    assert made.reconstruction_psnr == pytest.approx(psnr(vae, clip), abs=0.05)
    assert edited[0].reconstruction_psnr is None


def test_sdedit_edits_every_frame_by_itself(models, drawn):
    request = Configuration("noised", "", "sdedit", fields={"steps": 5, "guidance_scale": 4.0}).request(TASKS, "demo")
    both, evaluations = sdedit(drawn[0].source, request, 0.6, models)
    one, _ = sdedit(drawn[0].source[:1], request, 0.6, models)
    assert evaluations == 2 * 3  # three of five steps, with guidance
    assert len(both) == len(TASKS)
    assert np.abs(one[0][0].astype(int) - both[0][0]).max() <= 1  # another batch size: a level after rounding


def test_sdedit_with_little_noise_returns_the_clip(models, drawn):
    request = Configuration("noised", "", "sdedit", fields={"steps": 20}).request(TASKS, "demo")
    (weak, *_), _ = sdedit(drawn[0].source, request, 0.05, models)
    (strong, *_), _ = sdedit(drawn[0].source, request, 1.0, models)
    clip = round_trip(drawn[0].source, models).astype(int)
    assert np.abs(weak - clip).mean() < np.abs(strong - clip).mean()
