"""The committed checkpoint, and what `python -m editor demo` writes with it or refuses."""

import json

import numpy as np
import pytest
import torch

from editor.demo import examples
from editor.demo.cli import main
from editor.demo.describe import SIDE, attributes, described
from editor.demo.judge import load_judge
from editor.demo.model import FOLDER, DemoModel
from editor.demo.train import CLASSES
from editor.demo.train_vae import frames_tensor
from editor.demo.vocabulary import Scene
from editor.demo.world import render
from editor.events import EditError
from editor.media import probe, spread_frames


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
    from editor.demo.check import psnr_of_each, unseen

    model = DemoModel.load()
    _, frames = unseen(24, seed=3)
    latents = model.encode(frames)
    assert abs(float(latents.mean())) < 0.25 and 0.75 < float(latents.std()) < 1.25  # exact on the training frames
    assert psnr_of_each(frames, model.decode(latents)).mean() > 28  # dB; `demo check` measures the mean over 400


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


CAR = ["render", "--subject", "car", "--color", "red", "--place", "road", "--seed", "7"]


def test_render_writes_a_clip_that_plays(tmp_path, capsys):
    out = tmp_path / "folder" / "red.mp4"
    assert main([*CAR, "--frames", "6", "--out", str(out)]) == 0
    assert "a red car on the road" in capsys.readouterr().out
    found = probe(out)
    assert (found.frames, found.size) == (6, (96, 96))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*CAR, "--frames", "0"], "frames is 0"),
        ([*CAR, "--size", "50"], "multiples of 8"),
        (["render", "--subject", "unicorn"], "no subject 'unicorn'"),
        (["render", "--subject", "duck", "--color", "red"], "cannot be painted"),
        (["sample", "a fox", "--steps", "0", "--out", "x.png"], "steps is 0"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(tmp_path, arguments, words):
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "x.mp4")]
    with pytest.raises(EditError, match=words):
        main([*arguments, *out])
    assert not list(tmp_path.iterdir())


def test_an_unwritable_path_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EditError, match="cannot be written"):
        main([*CAR, "--out", str(tmp_path / "file" / "red.mp4")])
    with pytest.raises(EditError, match=r"end in \.mp4"):
        main([*CAR, "--out", str(tmp_path / "red.txt")])


def test_sample_writes_a_picture_and_names_unknown_words(tmp_path, capsys):
    out = tmp_path / "fox.png"
    assert main(["sample", "a blue lego fox in the snow", "--steps", "2", "--out", str(out)]) == 0
    assert "lego" in capsys.readouterr().err
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_classifier_without_torch_says_what_the_trained_one_says():
    frames, _ = render(Scene("car", "blue", "beach", seed=5), 4, SIDE)
    with torch.no_grad():
        expected = load_judge()(frames_tensor(frames, "cpu"))
    for name, scores in attributes(frames).items():
        assert np.allclose(scores, expected[name].numpy(), atol=1e-3)  # float32 sums in another order


def test_the_example_clips_are_described_as_their_sentences_say():
    entries = json.loads((examples.FOLDER / "examples.json").read_text())
    said = [described(spread_frames(examples.FOLDER / entry["file"], 5, SIDE)) for entry in entries]
    assert said == [entry["source"] for entry in entries]


def test_what_is_not_of_this_world_is_not_described():
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    assert described(noise) is None


def test_the_examples_are_there_with_prompts_the_model_knows():
    from editor.demo.examples import FOLDER
    from editor.demo.vocabulary import unknown_words

    entries = json.loads((FOLDER / "examples.json").read_text())
    assert len(entries) == 6
    found = [probe(FOLDER / entry["file"]) for entry in entries]
    assert all(2 <= clip.seconds <= 3 for clip in found) and sum(clip.has_audio for clip in found) == 1
    assert not any(unknown_words(text) for entry in entries for text in (entry["source"], *entry["targets"]))
