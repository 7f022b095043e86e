"""The spatial loss: its value, its gradient, and what it does in a run, and the clip's own detail given back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from editor.method.spatial import LEAST, SpatialLoss, acted, detailed, left_alone, with_detail
from tests import tiny
from tests.method.runs import ask, run_edit

TARGET = "a blue bus on the snow"


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def vae():
    return tiny.vae("demo").double()


@pytest.fixture(scope="module")
def parts():
    return tiny.components("demo")


def test_the_loss_is_its_definition(vae):
    pixels, frames = draw(2, 3, 5, 6), draw(2, 3, 5, 6, seed=1)
    found = SpatialLoss(vae, frames, 2.0, 3.0)(pixels, frames)
    for i in range(2):
        pixel = sum(float(d) ** 2 for d in (pixels[i] - frames[i]).flatten()) / (3 * 5 * 6)
        down = right = 0.0
        for c in range(3):
            for y in range(5):
                for x in range(6):
                    if y < 4:
                        ours, theirs = (p[i, c, y + 1, x] - p[i, c, y, x] for p in (pixels, frames))
                        down += float(ours - theirs) ** 2 / (3 * 4 * 6)
                    if x < 5:
                        ours, theirs = (p[i, c, y, x + 1] - p[i, c, y, x] for p in (pixels, frames))
                        right += float(ours - theirs) ** 2 / (3 * 5 * 5)
        assert float(found[i]) == pytest.approx(2.0 * pixel + 3.0 * (down + right), rel=1e-12)


def test_a_constant_shift_has_pixel_loss_but_no_gradient_loss(vae):
    frames = draw(1, 3, 8, 8)
    assert float(SpatialLoss(vae, frames, 0.0, 1.0)(frames + 0.5, frames)) == pytest.approx(0.0, abs=1e-20)
    assert float(SpatialLoss(vae, frames, 1.0, 0.0)(frames + 0.5, frames)) == pytest.approx(0.25)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.7, 2.0)])
def test_the_gradient_agrees_with_finite_differences_at_constant_noise(vae, weights):
    a = 0.6
    latents, eps, frames = draw(3, 4, 4, 4), draw(3, 4, 4, 4, seed=1), draw(3, 3, 16, 16, seed=2)
    loss = SpatialLoss(vae, frames, *weights, chunk=2)

    def value(z: torch.Tensor) -> float:
        clean = (z - (1 - a) ** 0.5 * eps) / a**0.5
        return float(loss(loss.decode(clean), frames).sum())

    gradient = loss.gradient(latents, eps, a)
    step = 1e-5
    for place in [(0, 0, 0, 0), (1, 2, 3, 1), (2, 3, 2, 2)]:
        nudge = torch.zeros_like(latents)
        nudge[place] = step
        difference = (value(latents + nudge) - value(latents - nudge)) / (2 * step)
        # central differences: 1e-10 from curvature, 1e-11 from rounding, on gradients of about 1e-3
        assert float(gradient[place]) == pytest.approx(difference, rel=1e-4, abs=1e-9)


def test_chunks_make_no_difference(vae):
    latents, eps, frames = draw(3, 4, 4, 4), draw(3, 4, 4, 4, seed=1), draw(3, 3, 16, 16, seed=2)
    one, all_three = (SpatialLoss(vae, frames, 1.0, 1.0, chunk=c).descent(latents, eps, 0.5) for c in (1, 3))
    assert torch.allclose(one, all_three, atol=1e-12)  # float64


def test_it_keeps_the_result_nearer_to_the_original_and_is_counted(parts):
    latents = parts.latents(3)
    loss = SpatialLoss(parts.vae, torch.zeros(3, 3, 32, 32), 1.0, 1.0)
    loss = replace(loss, frames=loss.decode(latents).detach())
    plain = ask(TARGET, steps=8, blend=False)
    asked = replace(plain, spatial_pixel_weight=1.0, spatial_gradient_weight=1.0, spatial_every=2)
    with_loss = run_edit(parts, asked, latents, spatial=loss).sampled
    without = run_edit(parts, plain, latents).sampled
    near, far = (loss(loss.decode(s.latents[0]), loss.frames).sum() for s in (with_loss, without))
    assert near < far
    assert without.vae_evaluations == 0
    # the window 0.6..1 of 8 steps begins with step 5; every second one: 5 and 7; forward 1 and backward 1.08
    assert with_loss.vae_evaluations == pytest.approx(2 * 2.08)
    assert with_loss.unet_evaluations == without.unet_evaluations + 0  # no word is localised: no further rows


def test_with_weights_of_zero_nothing_is_decoded(parts):
    run = run_edit(parts, ask(TARGET, steps=3), parts.latents(1), spatial=None)
    assert run.sampled.vae_evaluations == 0


SHAPE = (2, 24, 32, 3)


def alone(edited, rebuilt, clip, region=None):
    return left_alone(edited, rebuilt, clip, 4, acted(edited, rebuilt, 4), region)


def drawn(seed):
    return np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)


def test_an_edit_that_changes_nothing_gives_the_clip_itself():
    clip, rebuilt = drawn(0), drawn(1)
    assert (alone(rebuilt, rebuilt, clip) == 1).all()
    steadied, change = detailed(rebuilt, rebuilt, clip, cell=4)
    assert (with_detail(steadied, rebuilt, clip, change) == clip).all()


WHOLE = np.ones(SHAPE[:3], bool)


def test_another_picture_stays_what_it_is():
    edited, rebuilt = drawn(1), drawn(2)
    clip = rebuilt // 2 + np.uint8(60)
    assert alone(edited, rebuilt, clip).max() < 0.5
    steadied, change = detailed(edited, rebuilt, clip, 4, WHOLE)
    assert (steadied == edited).all() and change.abs().mean() < 0.01
    flat = np.full(SHAPE, 90, np.uint8)
    assert detailed(edited, flat, clip, 4, WHOLE)[1].abs().max() < 1e-6, "what is flat says nothing of colours"


def recolored(frames):
    swap = np.array([[0, 0, 1], [0, 0.5, 0], [-0.8, 0, 0]], np.float32)  # red becomes blue, and blue a dark red
    return (frames.astype(np.float32) @ swap.T + (0, 40, 160)).round().astype(np.uint8)


def error(frames, wanted):
    return np.abs(frames.astype(int) - wanted).mean()


def test_where_colours_changed_and_shapes_did_not_the_detail_comes_in_the_new_colours():
    rebuilt = drawn(1) // 2 + np.uint8(60)
    detail = np.random.default_rng(2).integers(-6, 7, SHAPE).astype(np.int16)
    clip = (rebuilt + detail).astype(np.uint8)
    edited, wanted = recolored(rebuilt), recolored(clip)
    steadied, change = detailed(edited, rebuilt, clip, 4, WHOLE)
    assert error(steadied, edited) < 0.2
    assert error(with_detail(steadied, rebuilt, clip, change), wanted) < 0.1 * error(edited, wanted)


def test_of_what_a_new_shape_replaced_no_detail_comes_back():
    rebuilt = drawn(1) // 2 + np.uint8(60)
    clip, edited = rebuilt + np.uint8(6), recolored(rebuilt)
    edited[:, :, 16:] = rebuilt[:, :, 16:]
    change = detailed(edited, rebuilt, clip, 4, WHOLE, new_shapes=True)[1]
    assert change[..., :10].abs().max() < 0.05, "redrawn"
    assert torch.allclose(change[..., 22:], torch.eye(3).view(1, 3, 3, 1, 1)), "left alone"


def test_what_the_model_blurs_in_colours_that_fit_the_clip_is_put_right():
    clip = drawn(1)
    noise = np.random.default_rng(3).integers(-8, 9, SHAPE).astype(np.int16)
    edited = (recolored(clip // 2 + np.uint8(60)).astype(np.int16) + noise).clip(0, 255).astype(np.uint8)
    rebuilt = clip // 2 + np.uint8(60)
    steadied, _ = detailed(edited, rebuilt, rebuilt, 4, WHOLE)
    assert error(steadied, recolored(rebuilt)) < 0.5 * error(edited, recolored(rebuilt))


def test_a_difference_counts_by_what_the_autoencoder_lost():
    flat = np.full(SHAPE, 100, np.uint8)
    for lost, differs in ((9, 10), (15, 16), (23, 24)):
        share = alone(flat + np.uint8(differs), flat, flat - np.uint8(lost))
        assert LEAST + lost == differs and np.allclose(share, 0.5)


def test_where_the_edit_acted_nothing_counts_as_left_alone_but_what_is_as_it_was():
    rebuilt, region = np.full(SHAPE, 100, np.uint8), np.zeros(SHAPE[:3], bool)
    region[:, 4:12, 8:20] = True
    for differs, within in ((0, 1.0), (5, 0.6), (8, 0.0), (50, 0.0)):
        share = alone(rebuilt + np.uint8(differs), rebuilt, rebuilt + np.uint8(60), region)
        assert np.allclose(share[region], within)
        assert (share[~region] > 0.5).all(), "what the autoencoder loses is more"


def test_a_faint_difference_is_the_models_error_and_goes():
    rebuilt = drawn(1) // 2 + np.uint8(60)
    clip = rebuilt + np.uint8(2)
    for differs, kept in ((3, 0.0), (5, 0.4), (8, 1.0)):
        edited = rebuilt + np.uint8(differs)
        steadied, change = detailed(edited, rebuilt, clip, 4, WHOLE)
        assert error(steadied, rebuilt + kept * differs) <= 0.5, "it is rounded"
        wanted = clip + kept * differs
        assert error(with_detail(steadied, rebuilt, clip, change), wanted) <= 1.0


def test_the_map_may_be_smaller_than_the_frames():
    small = detailed(drawn(1), drawn(1), drawn(0), cell=4)[1][..., ::2, ::2]
    assert (with_detail(drawn(1), drawn(1), drawn(0), small) == drawn(0)).all()


def test_the_difference_is_that_of_the_neighbourhood_of_one_latent_cell():
    flat = np.zeros(SHAPE, np.uint8)
    dot = flat.copy()
    dot[0, 12, 16] = 250  # 250 levels in one of 25 pixels: 10 levels, and the model lost one at the least
    share = alone(dot, flat, flat)
    assert np.isclose(share[0, 12, 16], 1 / 101)
    assert share[0, 12, 13] == 1 and (share[1] == 1).all()


def test_a_halo_goes_where_the_clips_colors_tell_the_thing_from_its_ground():
    rebuilt = np.full((1, 48, 48, 3), (90, 160, 90), np.uint8)
    rebuilt[:, 16:32, 16:32] = (220, 30, 30)
    wanted = rebuilt.copy()
    wanted[:, 16:32, 16:32] = (30, 30, 220)
    haze = np.zeros((1, 48, 48, 1), bool)
    haze[:, 13:35, 13:35] = True
    haze[:, 16:32, 16:32] = False
    edited = np.where(haze, rebuilt // 2 + np.uint8(70), wanted)
    steadied, _ = detailed(edited, rebuilt, rebuilt, 4, everywhere=True)
    beside, inside = haze[..., 0], (wanted != rebuilt).any(-1)
    assert error(steadied[beside], wanted[beside]) < 0.4 * error(edited[beside], wanted[beside])
    assert error(steadied[inside], wanted[inside]) < 2


def test_a_matte_that_explains_half_of_the_map_is_believed():
    """Sky beside the thing has the colour of its windows, so colours tell only in part what was edited."""
    rebuilt, red, sky = np.full((1, 48, 48, 3), (90, 160, 90), np.uint8), (220, 30, 30), (120, 180, 240)
    rebuilt[:, 16:32, 16:32] = red
    rebuilt[:, 20:28, 18:30] = rebuilt[:, :, 32:] = sky
    inside = (rebuilt == red).all(-1)
    beside = np.zeros((1, 48, 48), bool)
    beside[:, 13:35, 13:35] = True
    beside[:, 16:32, 16:32] = False
    wanted = np.where(inside[..., None], np.uint8((30, 30, 220)), rebuilt)
    edited = np.where(beside[..., None], rebuilt // 2 + np.uint8(70), wanted)
    assert acted(edited, rebuilt, 4, everywhere=True)[beside].mean() < 0.3
    new = acted(edited, rebuilt, 4, everywhere=True, new_shapes=True)[beside]
    assert new.mean() > 0.9, "of what is new the clip's colours tell nothing"
    steadied, _ = detailed(edited, rebuilt, rebuilt, 4, everywhere=True)
    assert error(steadied[beside], wanted[beside]) < 0.15 * error(edited[beside], wanted[beside])
    assert error(steadied[inside], wanted[inside]) < 1


def test_what_is_weak_beside_a_strong_difference_goes_unless_the_edit_is_everywhere():
    """The clip is flat: its colours tell nothing."""
    rebuilt, region = np.full((1, 48, 48, 3), 100, np.uint8), np.zeros((1, 48, 48), bool)
    edited = rebuilt.copy()
    edited[:, 13:35, 13:35] = 118
    edited[:, 16:32, 16:32] = 200
    region[:, 12:36, 12:36] = True
    haze, inside = np.s_[:, 18:30, 34], np.s_[:, 18:30, 18:30]
    local, replaced, look = (
        detailed(edited, rebuilt, rebuilt, 4, where, everywhere=everywhere)[0]
        for where, everywhere in ((region, False), (None, False), (None, True))
    )
    assert error(local[haze], 100) < 4 and error(replaced[haze], 100) < 4
    assert error(look[haze], 118) < 4
    assert all((x[inside] == 200).all() for x in (local, replaced, look))


def test_a_new_part_over_the_ground_is_no_halo():
    """Colours of the clip cannot tell it, so it stays."""
    rebuilt = np.full((1, 48, 48, 3), (90, 160, 90), np.uint8)
    rebuilt[:, 24:40, 16:32] = (220, 30, 30)
    edited = rebuilt.copy()
    edited[:, 8:24, 18:30] = (40, 40, 40)
    steadied, _ = detailed(edited, rebuilt, rebuilt, 4, np.ones((1, 48, 48), bool))
    part = np.s_[:, 10:22, 20:28]
    assert error(steadied[part], edited[part]) < 0.25 * error(rebuilt[part], edited[part])
