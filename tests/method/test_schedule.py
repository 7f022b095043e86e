"""The levels of a run and the moves between them."""

import math

import pytest
import torch

from editor.events import EditError
from editor.method.schedule import Schedule
from editor.request import window_steps
from tests import tiny


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("steps", [1, 7, 25, 50, 120])
def test_a_step_undoes_an_inverse_step_with_the_same_noise(steps):
    schedule = Schedule.from_scheduler(tiny.scheduler(), steps)
    latents, eps = draw(2, 4, 8, 8), draw(2, 4, 8, 8, seed=1)
    for step in range(steps):
        there_and_back = schedule.step(step, schedule.unstep(step, latents, eps), eps)
        # float64 rounds at 1e-16; one level of noise divides by at least 0.07
        assert (there_and_back - latents).abs().max() < 1e-10


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [7, 25, 50])
def test_steps_and_guesses_are_those_of_diffusers(prediction, steps):
    scheduler = tiny.scheduler(prediction)
    scheduler.set_timesteps(steps)
    schedule = Schedule.from_scheduler(scheduler, steps)
    assert list(schedule.timesteps) == scheduler.timesteps.tolist()
    latents, output = draw(1, 4, 8, 8), draw(1, 4, 8, 8, seed=1)
    for step, timestep in enumerate(scheduler.timesteps):
        theirs = scheduler.step(output, timestep, latents)
        eps = schedule.eps(step, latents, output)
        # their levels are float32: 6e-8 relative, divided by the smallest level's root of 0.07
        assert torch.allclose(schedule.step(step, latents, eps), theirs.prev_sample, atol=1e-5)
        assert torch.allclose(schedule.clean(step, latents, eps), theirs.pred_original_sample, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_true_noise_leads_along_the_true_latents(prediction):
    """Latents mixed from a picture and its noise go exactly to the same mix at the next level."""
    schedule = Schedule.from_scheduler(tiny.scheduler(prediction), 10)
    clean, noise = draw(1, 4, 8, 8), draw(1, 4, 8, 8, seed=1)

    def mixed(level: int) -> torch.Tensor:
        a = schedule.alpha_bars[level]
        return math.sqrt(a) * clean + math.sqrt(1 - a) * noise

    for step in range(10):
        a = schedule.alpha_bars[step]
        v = math.sqrt(a) * noise - math.sqrt(1 - a) * clean
        eps = schedule.eps(step, mixed(step), noise if prediction == "epsilon" else v)
        assert torch.allclose(schedule.step(step, mixed(step), eps), mixed(step + 1), atol=1e-12)  # float64 rounding
        assert torch.allclose(schedule.clean(step, mixed(step), eps), clean, atol=1e-12)


def test_the_scheduler_is_left_as_it_was():
    scheduler = tiny.scheduler()
    scheduler.set_timesteps(12)
    before = scheduler.timesteps.clone()
    Schedule.from_scheduler(scheduler, 50)
    assert torch.equal(scheduler.timesteps, before)


@pytest.mark.parametrize("steps", [0, 501, 2000])
def test_step_counts_without_levels_are_refused(steps):
    with pytest.raises(EditError, match=f"steps is {steps}.*1 to 500"):
        Schedule.from_scheduler(tiny.scheduler(), steps)


def test_other_kinds_of_prediction_are_refused():
    with pytest.raises(EditError, match=r"'sample'.*epsilon or v_prediction"):
        Schedule.from_scheduler(tiny.scheduler("sample"), 10)


@pytest.mark.parametrize(
    ("window", "steps", "expected"),
    [
        ((0.5, 1.0), 50, range(25, 50)),
        ((0.5, 1.0), 7, range(4, 7)),
        ((0.5, 1.0), 20, range(10, 20)),
        ((0.5, 1.0), 120, range(60, 120)),
        ((0.0, 0.8), 50, range(40)),
        ((0.0, 0.6), 25, range(15)),
        ((0.0, 0.7), 10, range(7)),  # 0.7 * 10 is a little above 7 in binary
        ((0.0, 0.0), 10, range(0)),
        ((0.0, 1.0), 1, range(1)),
    ],
)
def test_windows_are_the_steps_whose_fraction_lies_in_them(window, steps, expected):
    assert window_steps(window, steps) == expected
