"""Frames to latents and back. Tokens, words and embeddings of prompts."""

import numpy as np
import pytest
import torch

from editor.diffusion.latents import (
    decode_latents,
    encode_frames,
    fit_frames,
    plan_fit,
    require_finite,
    unfit_frames,
    unpad_frames,
)
from editor.diffusion.prompts import cut_note, embed, tokenise
from editor.events import EditError
from editor.media import psnr
from tests import tiny

CPU = torch.device("cpu")


def pictures(width, height, count=2, seed=0):
    """Smooth random frames: what scaling can be judged by."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return fit_frames(coarse, plan_fit(4, 4, 1, 1, max(width, height)))[:, :height, :width]


@pytest.mark.parametrize(
    ("size", "side", "multiple", "scaled", "padded"),
    [
        ((512, 512), 512, 64, (512, 512), (512, 512)),
        ((1280, 720), 512, 64, (683, 384), (704, 384)),
        ((720, 1280), 512, 64, (384, 683), (384, 704)),
        ((1920, 1080), 1024, 32, (1365, 768), (1376, 768)),
        ((96, 96), 96, 16, (96, 96), (96, 96)),
        ((1280, 16), 96, 16, (859, 11), (864, 16)),
    ],
)
def test_the_models_area_is_kept_whatever_the_shape(size, side, multiple, scaled, padded):
    fit = plan_fit(*size, side, multiple)
    assert (fit.clip, fit.scaled, fit.padded) == (size, scaled, padded)


@pytest.mark.parametrize(
    ("size", "longer", "scaled", "padded"),
    [((1280, 720), 512, (512, 288), (512, 320)), ((100, 100), 96, (96, 96), (128, 128))],
)
def test_a_longer_side_that_was_asked_for_counts_instead(size, longer, scaled, padded):
    fit = plan_fit(*size, 768, 64, longer)
    assert (fit.clip, fit.scaled, fit.padded) == (size, scaled, padded)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (64, 24), (24, 64), (33, 17), (64, 1)])
def test_there_and_back_restores_size_and_picture(width, height):
    frames = pictures(width, height)
    fit = plan_fit(width, height, 1, 16, max(width, height))
    fitted = fit_frames(frames, fit)
    assert fitted.shape == (2, fit.padded[1], fit.padded[0], 3)
    np.testing.assert_array_equal(unfit_frames(fitted, fit), frames)


def test_the_margin_is_a_mirror_image():
    frames = pictures(20, 16)
    fitted = fit_frames(frames, plan_fit(20, 16, 1, 16, 20))
    np.testing.assert_array_equal(fitted[:, :16, 20:32], frames[:, :, 8:20][:, :, ::-1])
    np.testing.assert_array_equal(unpad_frames(fitted, plan_fit(20, 16, 1, 16, 20)), frames)


def test_scaling_up_and_down_again_stays_close():
    frames = pictures(48, 32)
    fit = plan_fit(48, 32, 1, 16, 96)
    # Lanczos there and back on a smooth picture: the kernel's ripple, a few levels out of 255
    assert psnr(unfit_frames(fit_frames(frames, fit), fit), frames) > 35


@pytest.mark.parametrize("layout", ["sd15", "demo"])
def test_encoding_is_the_posterior_mean_in_the_checkpoints_scaling(layout):
    vae = tiny.vae(layout)
    frames = pictures(32, 32, count=3)
    found = encode_frames(vae, frames, 2, CPU)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1
    expected = vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor
    side = 32 // (4 if layout == "demo" else 8)
    assert found.shape == (3, 4, side, side)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # batches of 2 and 1 against 3: rounding


def test_chunks_do_not_change_the_frames():
    vae, latents = tiny.vae(), torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = decode_latents(vae, latents, 5)
    assert whole.shape == (5, 32, 32, 3) and whole.dtype == np.uint8
    assert np.abs(whole.astype(int) - decode_latents(vae, latents, 2)).max() <= 1  # rounding to 8 bits


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_overflow_is_an_error_that_names_causes_never_a_black_video(bad):
    latents = torch.zeros(2, 4, 4, 4)
    latents[1, 0, 0, 0] = bad
    with pytest.raises(EditError, match=r"NaN\) while denoising.*guidance scale.*half precision on this GPU"):
        decode_latents(tiny.vae(), latents, 2)


def test_a_vae_that_overflows_is_an_error_too():
    vae = tiny.vae(seed=1)
    vae.decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(EditError, match="while decoding the frames"):
        decode_latents(vae, torch.zeros(1, 4, 4, 4), 1)
    vae.quant_conv.bias.data.fill_(float("nan"))
    with pytest.raises(EditError, match="while encoding the clip"):
        encode_frames(vae, pictures(32, 32), 1, CPU)


def test_finite_values_pass():
    require_finite(torch.zeros(3), "testing")


@pytest.fixture(scope="module")
def parts():
    return tiny.components()


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red car",
        "  a   red\tcar \n",
        "a red car, moving; on the road!",
        "it's a zebra-striped wagon (1970s)",
        "ein roter Käfer, 東京",
        "A RED Car",
        "supercalifragilistic " * 12,
    ],
)
def test_word_by_word_gives_the_tokenizers_own_ids(parts, prompt):
    whole = parts.tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
    assert list(tokenise(parts.tokenizer, prompt).ids) == whole


def test_positions_cover_the_tokens_of_each_word(parts):
    tokens = tokenise(parts.tokenizer, "a  zebra, on the road")
    assert tokens.words == ("a", "zebra,", "on", "the", "road")
    assert tokens.positions[0] == range(1, 2)
    for word, places in zip(tokens.words, tokens.positions, strict=True):
        assert parts.tokenizer.decode([tokens.ids[p] for p in places]).strip().replace(" ,", ",") == word
    assert len(tokens.positions[1]) > 1, "the word must be spelled with several tokens for this test to mean something"


def test_what_does_not_fit_is_named(parts):
    prompt = "car " * 74 + "zebra dog"
    tokens = tokenise(parts.tokenizer, prompt)
    assert len(tokens.ids) == 77
    assert tokens.cut == ("zebra", "dog")
    assert tokens.words[-1] == "zebra" and len(tokens.positions[-1]) == 1, "its first token fits"
    assert cut_note(parts.tokenizer, "target prompt", prompt).endswith("not seen by the model: zebra dog")
    assert cut_note(parts.tokenizer, "target prompt", "a car") is None


def test_embeddings_are_the_last_hidden_state_in_float32(parts):
    prompts = ["a red car", ""]
    found = embed(parts.tokenizer, parts.text_encoder, prompts, torch.device("cpu"))
    assert found.shape == (2, 77, tiny.TEXT_WIDTH) and found.dtype == torch.float32
    torch.testing.assert_close(found[:1], parts.embed("a red car"), rtol=0, atol=1e-5)  # batch of 2 against 1: rounding
