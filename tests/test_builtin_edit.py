"""Edits with the built-in model, held to the right answer: the same motion, drawn with the other word.

The bounds are what the committed weights reach, with room for another machine's rounding; better weights tighten them.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from editor import EditRequest, edit, load_models
from editor.demo.check import psnr_of_each
from editor.demo.dataset import UNSEEN_SEED
from editor.demo.vocabulary import caption
from editor.demo.world import Scene, render
from editor.diffusion.latents import decode_latents, encode_frames
from editor.diffusion.prompts import embed
from editor.media import read_clip, write_video
from editor.method.attention import attached, processors_for
from editor.method.denoiser import Denoiser
from editor.method.inversion import invert
from editor.method.schedule import Schedule
from editor.settings import Settings

FRAMES = 6
RED = Scene("car", "red", "road", seed=UNSEEN_SEED + 11)
BLUE = Scene("car", "blue", "road", seed=UNSEEN_SEED + 11)


@pytest.fixture(scope="module")
def models():
    return load_models("demo", Settings(device="cpu"))


@pytest.fixture(scope="module")
def blue_car(models, tmp_path_factory):
    """The clip, its edit, the right answer and the subject's mask: uint8 (F, 96, 96, 3) thrice, bool (F, 96, 96);
    then the manifest, and the picture of the word maps."""
    folder = tmp_path_factory.mktemp("blue")
    frames, mask = render(RED, FRAMES)
    write_video(frames, 8, folder / "red.mp4")
    request = EditRequest.from_preset("balanced", source=caption(RED), targets=(caption(BLUE),), word_maps=True)
    (result,) = edit(folder / "red.mp4", request, models, folder / "out", check=True)
    edited = read_clip(result.edited, max_frames=FRAMES).frames
    manifest = json.loads(result.manifest.read_text(encoding="utf-8"))
    return frames, edited, render(BLUE, FRAMES)[0], mask, manifest, result.word_maps


def _error(a, b, where):
    """PSNR in dB over the pixels of the mask alone."""
    square = (a.astype(np.float64) - b)[where] ** 2
    return 10 * np.log10(255**2 / square.mean())


def test_a_colour_edit_paints_the_subject(blue_car):
    frames, edited, right, mask, *_ = blue_car
    inside = mask & (np.abs(right.astype(int) - frames).max(-1) > 60)  # the paint itself, not windows and wheels
    red, green, blue = edited[inside].mean(axis=0)
    assert blue > red + 60 and blue > green + 30  # levels of 255; the clip has red 150 above blue there
    assert _error(edited, right, inside) > _error(frames, right, inside) + 6  # dB nearer to the right answer


def test_a_colour_edit_leaves_the_background(blue_car, models):
    frames, edited, _, mask, *_ = blue_car
    latents = encode_frames(models.vae, frames, 8, models.device)
    through_vae = decode_latents(models.vae, latents, 8)
    assert _error(edited, frames, ~mask) > _error(through_vae, frames, ~mask) - BACKGROUND_LOSS_DB


BACKGROUND_LOSS_DB = 5.0
"""Measured 4.5 here, where the paint spills over the car's edge. The goal, 1.5, is one for the mean over many clips."""


def test_the_model_looks_for_the_car_where_the_car_is(blue_car):
    """In both sentences. Measured: 6 and 10 times as much inside the car's outline as outside."""
    mask, told, path = blue_car[3], blue_car[4]["word_maps"], blue_car[5]
    (width, height), words = told["size"], [*told["source"], *told["target"]]
    with Image.open(path) as picture:
        sheet = np.asarray(picture.convert("L")).reshape(len(words), height, len(told["keyframes"]), width)
        shape = (width, height)
        car = np.stack([Image.fromarray(mask[n]).convert("L").resize(shape, Image.BOX) for n in told["keyframes"]])
    rows = [row for row, word in enumerate(words) if word == "car"]
    assert len(rows) == 2
    for row in rows:
        level, share = sheet[row].swapaxes(0, 1), car / 255
        assert np.average(level, weights=share) > 5 * np.average(level, weights=1 - share)


@pytest.mark.parametrize("preset", ["paper", "balanced", "fast"])
def test_the_clip_itself_comes_back(preset, models, blue_car, tmp_path):
    """Target = source under the preset's own guidance and attention, blend and loss off."""
    manifest = blue_car[4]
    if preset != "balanced":
        frames = 2 if preset == "paper" else FRAMES
        write_video(render(RED, frames)[0], 8, tmp_path / "red.mp4")
        request = EditRequest.from_preset(preset, source=caption(RED), targets=(caption(RED),))
        (result,) = edit(tmp_path / "red.mp4", request, models, tmp_path / "out", check=True)
        manifest = json.loads(result.manifest.read_text(encoding="utf-8"))
    assert manifest["reconstruction_psnr"] > manifest["vae_psnr"] - RECONSTRUCTION_LOSS_DB[preset]


RECONSTRUCTION_LOSS_DB = {"paper": 13.5, "balanced": 0.1, "fast": 0.1}  # measured 12.4, 0, 0: paper's source row drifts


@torch.no_grad()
def test_inversion_and_back_without_guidance_is_within_the_gap(models):
    frames, _ = render(RED, FRAMES)
    z0 = encode_frames(models.vae, frames, 8, models.device)
    empty = embed(models.tokenizer, models.text_encoder, [""], models.device)
    schedule = Schedule.from_scheduler(models.scheduler, 25)
    z = invert(models.unet, schedule, z0, empty).noisiest
    denoiser = Denoiser(models.unet, schedule)
    with attached(models.unet, processors_for(models.unet, models.kernel)):
        for step in range(25):
            z = schedule.step(step, z, denoiser.eps(step, z[None], empty)[0])
    through, back = decode_latents(models.vae, z0, 8), decode_latents(models.vae, z, 8)
    assert (
        psnr_of_each(frames, through).mean() - psnr_of_each(frames, back).mean() < 2.0
    )  # dB, the goal of `demo check`
