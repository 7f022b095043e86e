"""The committed checkpoint: its layout, its sizes, and that it generates."""

import json

import numpy as np
import pytest
import torch

from editor.demo.model import FOLDER, DemoModel
from editor.demo.train import CLASSES


def test_it_is_laid_out_like_stable_diffusion_and_small():
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert all((FOLDER / part).is_dir() and index[part] == list(CLASSES[part]) for part in CLASSES)
    sizes = [file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()]
    assert max(sizes) < 9_500_000 and sum(sizes) < 40_000_000
    assert not list(FOLDER.rglob("*.bin"))
    unet = json.loads((FOLDER / "unet" / "config.json").read_text())
    assert sum("CrossAttn" in name for name in unet["down_block_types"]) >= 2
    scheduler = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["beta_schedule"] == "scaled_linear" and scheduler["steps_offset"] == 1
    assert scheduler["clip_sample"] is False and scheduler["set_alpha_to_one"] is False


def test_no_config_names_the_folder_it_was_trained_in():
    for config in FOLDER.glob("*/config.json"):
        assert "_name_or_path" not in json.loads(config.read_text())


def test_plain_diffusers_generates_from_a_prompt():
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=True, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    picture = pipeline(
        "a red car in the snow", num_inference_steps=20, guidance_scale=5.0, generator=generator, output_type="np"
    ).images[0]
    assert picture.shape == (96, 96, 3) and np.isfinite(picture).all()
    ground = picture[70:, :12].mean(axis=(0, 1))  # snow: bright, and not greener or redder than blue
    assert ground.min() > 0.6 and ground[2] >= ground[0] - 0.05


def test_the_prompt_decides_the_picture():
    model = DemoModel.load()
    snow, desert, city = model.generate(
        ["a penguin in the snow", "a penguin in the desert", "a penguin in the city at night"], 12
    )
    assert snow.mean() > desert.mean() > city.mean() + 40  # levels of 255; the places' own means lie 60 and more apart
    assert desert[..., 0].mean() > desert[..., 2].mean() + 40


def test_latents_have_unit_variance_and_decode_back():
    from editor.demo.check import psnr, unseen

    model = DemoModel.load()
    _, frames = unseen(24, seed=3)
    latents = model.encode(frames)
    assert abs(float(latents.mean())) < 0.25 and 0.75 < float(latents.std()) < 1.25  # exact on the training frames
    assert psnr(frames, model.decode(latents)).mean() > 28  # dB; `demo check` measures the mean over 400


@pytest.mark.slow
def test_training_from_nothing_for_two_minutes(tmp_path):
    from editor.demo.train import main

    common = ["--out", str(tmp_path / "model"), "--work", str(tmp_path / "work"), "--frames", "512"]
    main(["tokenizer", *common])
    main(["vae", "--minutes", "1", *common])
    main(["unet", "--minutes", "1", *common])
    curve = json.loads((tmp_path / "work" / "unet" / "curve.json").read_text())["curve"]
    assert curve[-1][2] < curve[0][2]
    assert (tmp_path / "work" / "unet" / "sheet.png").is_file()
    assert (tmp_path / "work" / "held_out.json").is_file()
    picture = DemoModel.load(tmp_path / "model").generate(["a red car on the road"], steps=2)
    assert picture.shape == (1, 96, 96, 3)
