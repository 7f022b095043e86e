"""What the parts of a checkpoint cost in floating-point operations, counted on shapes alone (no memory, no time).

The modules are built anew on PyTorch's `meta` device, which computes shapes and nothing else, and `FlopCounterMode`
counts matrix products, convolutions and attention. On `meta` attention is counted whatever kernel runs later.
"""

import json
from functools import cache

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from editor.diffusion.kernels import KernelChoice
from editor.method.attention import EditStep, attached, processors_for
from editor.method.branches import spatial_steps
from editor.method.denoiser import text_inputs
from editor.request import EditRequest

META = torch.device("meta")
PLAIN = KernelChoice("plain", "counted")


def unet_flops(
    unet: UNet2DConditionModel,
    height: int,
    width: int,
    frames: int = 1,
    frame_attention: str = "own",
    dense_layers: str = "none",
) -> float:
    """Operations per frame of one row, latents (frames, C, height, width), with this attention across frames."""
    return _unet_flops(_text(unet.config), height, width, frames, frame_attention, dense_layers)


def vae_flops(vae: AutoencoderKL, height: int, width: int) -> dict[str, float]:
    """Operations per frame of `height` x `width` pixels: `encode`, `decode`, and `decode_backward` (to the latents)."""
    return dict(_vae_flops(_text(vae.config), height, width))


def run_flops(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    size: tuple[int, int],
    frames: int,
    request: EditRequest,
    *,
    before: float,
    edit: float,
    encoded: bool,
) -> dict[str, float]:
    """Operations per edited frame of a run at `size` (width, height) pixels.

    `before` and `edit` are UNet evaluations per frame until and from sampling on; `encoded`: the VAE went there and
    back for the inversion. `unet`: all evaluations under the attention they ran with; `frame_attention`: the part of it
    that attention across frames adds. `vae`: encoding, its check, and decoding each target. `spatial_loss`: the VAE's
    work for the loss, `spatial_loss_share` its part of everything.
    """
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    cells = size[1] // factor, size[0] // factor
    plain = unet_flops(unet, *cells)
    across = unet_flops(unet, *cells, frames, request.frame_attention, request.dense_layers)
    cost, targets = vae_flops(vae, size[1], size[0]), len(request.targets)
    counts = {
        "unet": before * plain + edit * across,
        "frame_attention": edit * (across - plain),
        "vae": encoded * (cost["encode"] + cost["decode"]) + targets * cost["decode"],
        "spatial_loss": targets * len(spatial_steps(request)) * (cost["decode"] + cost["decode_backward"]),
    }
    everything = counts["unet"] + counts["vae"] + counts["spatial_loss"]
    return {**counts, "spatial_loss_share": counts["spatial_loss"] / everything}


@cache
def _unet_flops(config: str, height: int, width: int, frames: int, frame_attention: str, dense_layers: str) -> float:
    with META:
        unet = UNet2DConditionModel.from_config(json.loads(config))
        latents = torch.zeros(frames, unet.config.in_channels, height, width)
        text = torch.zeros(1, 78 if unet.config.addition_embed_type else 77, unet.config.cross_attention_dim)
        step = torch.zeros((), dtype=torch.long)
    processors = processors_for(unet, PLAIN, frame_attention, dense_layers)
    with attached(unet, processors), torch.no_grad(), FlopCounterMode(display=False) as counter:
        told = text_inputs(unet, text, frames, (height, width))
        unet(latents, step, **told, cross_attention_kwargs={"edit": EditStep(frames)})
    return counter.get_total_flops() / frames


@cache
def _vae_flops(config: str, height: int, width: int) -> tuple[tuple[str, float], ...]:
    with META:
        vae = AutoencoderKL.from_config(json.loads(config)).requires_grad_(False)
        pixels = torch.zeros(1, 3, height, width)
    with torch.no_grad(), FlopCounterMode(display=False) as encoding:
        latents = vae.encode(pixels).latent_dist.mean
    latents.requires_grad_(True)
    with FlopCounterMode(display=False) as decoding:
        decoded = vae.decode(latents).sample.sum()
    with FlopCounterMode(display=False) as backward:
        decoded.backward()
    counts = {"encode": encoding, "decode": decoding, "decode_backward": backward}
    return tuple((name, float(counter.get_total_flops())) for name, counter in counts.items())


def _text(config: dict) -> str:
    """A configuration as text, so that results can be kept by it."""
    return json.dumps({k: v for k, v in config.items() if not k.startswith("_")}, sort_keys=True, default=str)
