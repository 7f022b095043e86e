"""Group norms over a whole clip, as published."""

import torch
from torch import nn

from editor.diffusion.latents import encode_frames
from editor.method.norms import clip_norms
from tests import tiny
from tests.clips import moving_square
from tests.method.runs import ask, run_edit


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
