"""The levels of a run, the moves between them, inversion and the way back."""

import math

import pytest
import torch

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.events import EditError
from editor.method.attention import attached, processors_for
from editor.method.denoiser import Denoiser
from editor.method.inversion import invert, noised
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


PROMPT = "a red car on the road"


@pytest.fixture(scope="module")
def parts():
    return tiny.components("demo")


def schedule_of(parts: tiny.Tiny, steps: int) -> Schedule:
    return Schedule.from_scheduler(parts.scheduler, steps)


@torch.no_grad()
def way_back(parts: tiny.Tiny, steps: int, noisiest: torch.Tensor) -> torch.Tensor:
    """Plain sampling with the inversion's prompt, per frame, without guidance."""
    schedule = schedule_of(parts, steps)
    denoiser, latents = Denoiser(parts.unet, schedule), noisiest
    with attached(parts.unet, processors_for(parts.unet, SDPA)):
        for step in range(steps):
            latents = schedule.step(step, latents, denoiser.eps(step, latents[None], parts.embed(PROMPT))[0])
    return latents


def test_all_levels_are_kept_and_counted(parts):
    latents = parts.latents(3)
    heard = []
    trajectory = invert(
        parts.unet, schedule_of(parts, 7), latents, parts.embed(PROMPT), on_step=lambda *said: heard.append(said)
    )
    assert trajectory.latents.shape == (8, *latents.shape)
    assert torch.equal(trajectory.clean, latents)
    assert torch.equal(trajectory.noisiest, trajectory.latents[0])
    assert trajectory.steps == trajectory.unet_evaluations == 7
    assert heard == [(done, 7, None) for done in range(1, 8)]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_each_level_is_the_inverse_step_from_the_cleaner_one(prediction):
    """The noise is taken from the cleaner latents, at the timestep of the noisier level, and read at that level."""
    parts = tiny.components("demo", prediction)
    schedule = schedule_of(parts, 5)
    trajectory = invert(parts.unet, schedule, parts.latents(2), parts.embed(PROMPT))
    for step in range(5):
        cleaner = trajectory.latents[step + 1]
        with torch.no_grad():
            output = parts.unet(cleaner, schedule.timesteps[step], parts.embed(PROMPT).repeat(2, 1, 1)).sample
        a, b = schedule.alpha_bars[step : step + 2]
        eps = output if prediction == "epsilon" else math.sqrt(a) * output + math.sqrt(1 - a) * cleaner
        clean = (cleaner - math.sqrt(1 - b) * eps) / math.sqrt(b)
        wanted = math.sqrt(a) * clean + math.sqrt(1 - a) * eps
        assert torch.allclose(trajectory.latents[step], wanted, atol=1e-4)  # float32, latents up to 20


def test_the_way_back_gets_nearer_with_more_steps_and_is_the_best_choice_of_level(parts):
    """For v-prediction, reading the output at the level of the latents instead would double the round trip's error."""
    latents, gaps = parts.latents(2), []
    for steps in (10, 40):
        trajectory = invert(parts.unet, schedule_of(parts, steps), latents, parts.embed(PROMPT))
        gaps.append(float((way_back(parts, steps, trajectory.noisiest) - latents).square().mean().sqrt()))
    assert gaps[1] < gaps[0] / 2  # the error is of first order in the step size: a quarter is expected

    schedule, other = schedule_of(parts, 10), latents
    with torch.no_grad():
        for step in reversed(range(10)):
            output = parts.unet(other, schedule.timesteps[step], parts.embed(PROMPT).repeat(2, 1, 1)).sample
            other = schedule.unstep(step, other, schedule.eps(step + 1, other, output))
    other_gap = float((way_back(parts, 10, other) - latents).square().mean().sqrt())
    assert gaps[0] < other_gap / 2  # measured 0.09 against 0.24


def test_frames_are_inverted_independently_and_in_chunks_alike(parts):
    schedule, text, latents = schedule_of(parts, 4), parts.embed(PROMPT), parts.latents(5)
    whole = invert(parts.unet, schedule, latents, text)
    chunked = invert(parts.unet, schedule, latents, text, chunk=2)
    alone = invert(parts.unet, schedule, latents[3:4], text)
    # float32: other batch sizes sum in another order, and four steps amplify it
    assert torch.allclose(chunked.latents, whole.latents, atol=1e-4)
    assert torch.allclose(alone.latents, whole.latents[:, 3:4], atol=1e-4)
    assert chunked.unet_evaluations == whole.unet_evaluations == alone.unet_evaluations == 4


def test_one_frame_and_any_aspect(parts):
    latents = torch.randn(1, 4, 4, 20, generator=torch.Generator().manual_seed(0))
    trajectory = invert(parts.unet, schedule_of(parts, 3), latents, parts.embed(""))
    assert trajectory.latents.shape == (4, 1, 4, 4, 20)


def test_the_kernel_makes_no_difference(parts):
    schedule, text, latents = schedule_of(parts, 3), parts.embed(PROMPT), parts.latents(2)
    plain = invert(parts.unet, schedule, latents, text, kernel=KernelChoice("plain", ""))
    assert torch.allclose(plain.latents, invert(parts.unet, schedule, latents, text).latents, atol=1e-4)  # float32


def test_a_clip_that_overflows_is_named_and_processors_come_back(parts):
    before = dict(parts.unet.attn_processors)
    latents = parts.latents(1)
    latents[0, 0, 0, 0] = float("nan")
    with pytest.raises(EditError, match="NaN"):
        invert(parts.unet, schedule_of(parts, 3), latents, parts.embed(PROMPT))
    assert parts.unet.attn_processors == before


def test_noise_without_an_inversion_is_the_same_for_all_frames_and_levels():
    """Each level is the clip's own scaled, plus the level's share of one noise of unit variance."""
    schedule, clean = Schedule.from_scheduler(tiny.scheduler(), 5), draw(3, 4, 8, 8)
    trajectory = noised(schedule, clean)
    assert trajectory.unet_evaluations == 0 and torch.equal(trajectory.clean, clean)
    noise = [
        (trajectory.latents[step] - level**0.5 * clean) / (1 - level) ** 0.5
        for step, level in enumerate(schedule.alpha_bars[:5])
    ]
    assert torch.allclose(torch.stack(noise), noise[0][:1].expand(5, 3, 4, 8, 8), atol=1e-4)
    assert 0.8 < float(noise[0].std()) < 1.2
