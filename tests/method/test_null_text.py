"""The paper's own parts: null-text optimisation, only in its window, and group norms over a whole clip."""

import pytest
import torch
from torch import nn

from editor.diffusion.kernels import SDPA
from editor.diffusion.latents import encode_frames
from editor.method.attention import attached, processors_for
from editor.method.branches import planned_evaluations
from editor.method.denoiser import Denoiser, clip_norms
from editor.method.inversion import Trajectory, invert
from editor.method.null_text import fit_null_text
from editor.method.schedule import Schedule
from tests import tiny
from tests.method.runs import SOURCE, ask, run_edit
from tests.tiny import moving_square


@pytest.fixture(scope="module")
def parts():
    return tiny.components("demo")


@pytest.fixture(scope="module")
def cheap():
    return tiny.components("two levels")


def prepare(parts: tiny.Tiny, request, frames: int = 2, size: int = 8):
    schedule = Schedule.from_scheduler(parts.scheduler, request.steps)
    source, empty = parts.embed(SOURCE), parts.embed("")
    return schedule, invert(parts.unet, schedule, parts.latents(frames, size), empty), source, empty


@torch.no_grad()
def guided(parts: tiny.Tiny, schedule: Schedule, noisiest: torch.Tensor, null: torch.Tensor, scale: float):
    """Plain guided sampling per frame with one null embedding (N, 1, 77, d) per step."""
    latents, denoiser = noisiest, Denoiser(parts.unet, schedule)
    with attached(parts.unet, processors_for(parts.unet, SDPA)):
        for step in range(schedule.steps):
            rows = torch.stack([latents, latents])
            base, text = denoiser.eps(step, rows, torch.cat([null[step], parts.embed(SOURCE)]))
            latents = schedule.step(step, latents, base + scale * (text - base))
    return latents


def request_for(steps: int, **values):
    null = {"inversion": "null_text", "guidance_base": "empty", "guidance_stop": 1.0, "guidance_scale": 7.5}
    return ask(steps=steps, **{**null, **values})


def test_a_full_fit_ends_nearer_to_the_clip_than_the_empty_prompt(parts):
    request = request_for(10, null_text_window=(0.0, 1.0), null_text_inner_steps=10)
    schedule, trajectory, source, empty = prepare(parts, request)
    null = fit_null_text(parts.unet, schedule, trajectory, source, empty, request)

    def gap(embeddings: torch.Tensor) -> float:
        end = guided(parts, schedule, trajectory.noisiest, embeddings, 7.5)
        return float((end - trajectory.clean).square().mean())

    plain = gap(empty.expand(10, 1, 77, -1))
    assert gap(null.embeddings) < 0.5 * plain  # measured 0.16 times
    assert len(null.errors) == 10


def test_a_narrow_fit_is_nearer_too(parts):
    """Outside the window the fit advances with the plain empty prompt, as sampling will."""
    request = request_for(10, null_text_inner_steps=10)
    schedule, trajectory, source, empty = prepare(parts, request)
    null = fit_null_text(parts.unet, schedule, trajectory, source, empty, request)
    ends = [
        guided(parts, schedule, trajectory.noisiest, embeddings, 7.5)
        for embeddings in (null.embeddings, empty.expand(10, 1, 77, -1))
    ]
    fitted, plain = (float((end - trajectory.clean).square().mean()) for end in ends)
    assert fitted < plain


@pytest.mark.parametrize(("steps", "as_published"), [(7, True), (7, False), (20, True), (120, False)])
def test_fitted_embeddings_stand_exactly_in_their_window(cheap, steps, as_published):
    request = request_for(steps, as_published=as_published)
    schedule, trajectory, source, empty = prepare(cheap, request, frames=1, size=4)
    null = fit_null_text(cheap.unet, schedule, trajectory, source, empty, request)
    changed = [not torch.equal(e, empty) for e in null.embeddings]
    assert changed == [2 * step >= steps for step in range(steps)]
    assert null.embeddings.shape == (steps, *empty.shape)
    assert null.unet_evaluations == pytest.approx(planned_evaluations(request, ())["null_text"], abs=1e-3)


def test_nothing_is_fitted_where_guidance_has_stopped(cheap):
    request = request_for(10, guidance_stop=0.7)
    schedule, trajectory, source, empty = prepare(cheap, request)
    null = fit_null_text(cheap.unet, schedule, trajectory, source, empty, request)
    assert [not torch.equal(e, empty) for e in null.embeddings] == [5 <= step < 7 for step in range(10)]
    assert null.unet_evaluations == pytest.approx(planned_evaluations(request, ())["null_text"], abs=1e-3)
    unguided = request_for(10, guidance_scale=1.0)
    null = fit_null_text(cheap.unet, schedule, trajectory, source, empty, unguided)
    assert null.unet_evaluations == 0
    assert torch.equal(null.embeddings, empty.expand(10, *empty.shape))


def test_the_published_work_is_254(cheap):
    request = ask(preset="paper")
    schedule, trajectory, source, empty = prepare(cheap, request, frames=1, size=4)
    heard = []
    null = fit_null_text(
        cheap.unet, schedule, trajectory, source, empty, request, on_step=lambda *said: heard.append(said)
    )
    assert null.unet_evaluations == 254.0
    assert heard == [(done, 50, None) for done in range(1, 51)]


def test_chunks_of_frames_give_the_same_fit(parts):
    request = request_for(4, null_text_window=(0.0, 1.0), null_text_inner_steps=2)
    schedule, trajectory, source, empty = prepare(parts, request, frames=3)
    whole = fit_null_text(parts.unet, schedule, trajectory, source, empty, request)
    parted = fit_null_text(parts.unet, schedule, trajectory, source, empty, request, chunk=1)
    # Adam divides by the gradient's size, so rounding shows up to the rate of 0.01 where the gradient is nearly zero
    assert (whole.embeddings - parted.embeddings).abs().mean() < 1e-4
    assert whole.errors == pytest.approx(parted.errors, rel=1e-3)
    assert whole.unet_evaluations == parted.unet_evaluations


def test_the_fit_stops_early_when_the_error_is_small(parts):
    """Where the plain empty prompt lands on the wanted latents already, one inner step finds that out."""
    request = request_for(5, null_text_window=(0.0, 1.0), null_text_inner_steps=10, guidance_scale=1.5)
    schedule, trajectory, source, empty = prepare(parts, request)
    levels = [trajectory.noisiest]
    denoiser = Denoiser(parts.unet, schedule)
    with torch.no_grad(), attached(parts.unet, processors_for(parts.unet, SDPA)):
        for step in range(5):
            base, text = denoiser.eps(step, levels[-1].expand(2, -1, -1, -1, -1), torch.cat([empty, source]))
            levels.append(schedule.step(step, levels[-1], base + 1.5 * (text - base)))
    landed = Trajectory(torch.stack(levels), 0.0)
    null = fit_null_text(parts.unet, schedule, landed, source, empty, request)
    assert null.unet_evaluations == pytest.approx(5 * (1 + 2.08) + 4)
    harder = fit_null_text(parts.unet, schedule, trajectory, source, empty, request)
    assert harder.unet_evaluations > 5 * (1 + 2 * 2.08)


def test_half_precision_fits_without_underflow(parts):
    """The gradient of a mean is about 1e-6 per value: it must survive a UNet in half precision."""
    request = request_for(3, null_text_window=(0.0, 1.0), null_text_inner_steps=3)
    schedule, trajectory, source, empty = prepare(parts, request)
    wanted = fit_null_text(parts.unet, schedule, trajectory, source, empty, request)
    half = tiny.unet("demo").half()
    found = fit_null_text(half, schedule, trajectory, source, empty, request)
    assert found.embeddings.dtype == torch.float32
    assert torch.isfinite(found.embeddings).all()
    moved, expected = found.embeddings - empty, wanted.embeddings - empty
    agreement = torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)
    assert agreement > 0.8  # directions agree; half precision's noise flips only tiny components


def test_statistics_are_those_of_the_clip_as_one_tensor():
    unet = tiny.unet("demo")
    norm = unet.conv_norm_out
    x = torch.randn(2 * 3, norm.num_channels, 4, 4, generator=torch.Generator().manual_seed(0))
    x[1] *= 10  # a frame that is stronger than its neighbours stays so
    video = x.unflatten(0, (2, 3)).transpose(1, 2)  # (rows, channels, frames, h, w)
    alone, whole = norm(x), norm(video).transpose(1, 2).flatten(0, 1)
    with clip_norms(unet, 3):
        torch.testing.assert_close(norm(x), whole)
        assert (norm(x) - alone).abs().max() > 0.1
    assert torch.equal(norm(x), alone), "what was there comes back"


def test_only_resnets_and_the_output_are_concerned():
    unet = tiny.unet("sd15")
    with clip_norms(unet, 2):
        hooked = {name for name, module in unet.named_modules() if module._forward_hooks}
    norms = {name for name, module in unet.named_modules() if isinstance(module, nn.GroupNorm)}
    assert hooked == {name for name in norms if "attentions" not in name} and "conv_norm_out" in hooked
    with clip_norms(unet, 2, wanted=False):
        assert not any(module._forward_hooks for module in unet.modules())


def test_one_frame_is_the_same_either_way():
    parts = tiny.components("demo")
    values = {"preset": "paper", "steps": 2, "null_text_window": (0.0, 1.0)}
    latents = parts.latents(1)
    published = run_edit(parts, ask("a blue car on the road", **values), latents)
    with torch.no_grad():
        other = run_edit(parts, ask("a blue car on the road", **values, as_published=False), latents)
    torch.testing.assert_close(published.sampled.latents, other.sampled.latents, rtol=0, atol=1e-4)  # float32


def test_drawn_latents_spread_around_the_mean_and_repeat():
    vae, frames = tiny.vae("demo"), moving_square(3, 32, 32)
    mean, drawn, again = (
        encode_frames(vae, frames, 2, torch.device("cpu"), drawn=flag) for flag in (False, True, True)
    )
    assert torch.equal(drawn, again) and not torch.allclose(drawn, mean, atol=1e-3)
    vae.quant_conv.bias.data[4:] = -30.0  # the posterior's variance: as good as none
    torch.testing.assert_close(
        encode_frames(vae, frames, 2, torch.device("cpu"), drawn=True),
        encode_frames(vae, frames, 2, torch.device("cpu")),
        rtol=0,
        atol=1e-4,
    )
