"""Inversion and the way back."""

import math

import pytest
import torch

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.events import EditError
from editor.method.attention import attached, processors_for
from editor.method.denoiser import Denoiser
from editor.method.inversion import invert
from editor.method.schedule import Schedule
from tests import tiny

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
