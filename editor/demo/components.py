"""The built-in model's parts, in Stable Diffusion's layout, before training: shapes and configurations stand here.

A wider UNet need not begin from nothing: see `widen`."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from editor.demo.world import SIZE

TOKENS = 77
TEXT_WIDTH = 128
LATENT_CHANNELS = 4
WIDTHS = (64, 96, 128)
"""Channels of the UNet's levels, the finest first."""
HEAD = 32  # channels of an attention head
FACTOR = 4  # frame pixels per latent cell and axis


def make_vae(latent_channels: int = LATENT_CHANNELS) -> AutoencoderKL:
    """Factor 4, one resnet per block, attention in the middle."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,  # `fold_latent_scale` gives the latents unit variance
    )


def make_unet(latent_channels: int = LATENT_CHANNELS) -> UNet2DConditionModel:
    """Three levels, text attention in the upper two and in the middle; the lowest level is plain, as in SD 1.5."""
    return UNet2DConditionModel(
        sample_size=SIZE // FACTOR,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=WIDTHS,
        layers_per_block=1,
        attention_head_dim=tuple(
            width // HEAD for width in WIDTHS
        ),  # heads per level, under diffusers' historical name
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=16,
    )


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers of width 128; padding and end are the same token, as in SD 1.x."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_scheduler() -> DDIMScheduler:
    """SD 1.5's betas with the v-prediction of SD 2.1, which learns composition much faster at this scale."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing="leading",
    )


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer that `demo.train tokenizer` wrote."""
    return CLIPTokenizer.from_pretrained(folder)


WIDENED_TIME = ("time_embedding.linear_1.weight",)


@torch.no_grad()
def widen(old: UNet2DConditionModel, new: UNet2DConditionModel, seed: int = 0) -> UNet2DConditionModel:
    """Fill `new`, of the same blocks and the same channels per head but not narrower anywhere, from `old`.

    After Net2Net (arXiv 1511.05641): every new channel is a copy of an old one, and whoever reads the copies shares the
    old weight among them, in random parts, so that the copies learn different things. Where all widths double the
    function stays exactly as it was; other widths change it a little, through the group norms, and training mends that.

    Returns `new`. Raises `ValueError` where a level is narrower or the finest one is no multiple of the old one.
    """
    widths = tuple(zip(old.config.block_out_channels, new.config.block_out_channels, strict=True))
    if any(b < a for a, b in widths) or widths[0][1] % widths[0][0]:
        raise ValueError(f"cannot widen {old.config.block_out_channels} to {new.config.block_out_channels}")
    generator = torch.Generator().manual_seed(seed)
    weights, parts = old.state_dict(), _concatenated(old, new)
    for name, target in new.state_dict().items():
        source = weights[name]
        for axis in range(min(2, source.ndim)):
            reads = axis == 1
            places = _places(name, axis, source.shape[axis], target.shape[axis], parts)
            if reads and name in WIDENED_TIME:
                source = _spread_frequencies(source, target.shape[1])
                continue
            source = source.index_select(axis, places)
            if reads:
                source = source * _shares(source.shape, places, generator)
        target.copy_(source)
    return new


def _places(name: str, axis: int, old: int, new: int, parts: dict[str, list[tuple[int, int]]]) -> torch.Tensor:
    """For each of `new` channels the old one that it copies: neighbours are copies of one, as group norms want it."""
    if _counts_heads(name, axis):
        return (_even(old // HEAD, new // HEAD)[:, None] * HEAD + torch.arange(HEAD)).flatten()
    concatenated = parts.get(name.removesuffix(".weight").removesuffix(".bias"))
    if concatenated and old == sum(a for a, _ in concatenated) and (axis == 1 or "norm1" in name):
        starts = torch.tensor([0, *[a for a, _ in concatenated]]).cumsum(0)
        return torch.cat([_even(a, b) + start for (a, b), start in zip(concatenated, starts, strict=False)])
    return _even(old, new)


def _even(old: int, new: int) -> torch.Tensor:
    return torch.arange(new) * old // new


def _counts_heads(name: str, axis: int) -> bool:
    """Whether the axis is laid out head by head: what queries, keys and values give, and what their output reads."""
    part = name.split(".")
    return ("to_out" in part and axis == 1) or (axis == 0 and any(p in part for p in ("to_q", "to_k", "to_v")))


def _concatenated(old: UNet2DConditionModel, new: UNet2DConditionModel) -> dict[str, list[tuple[int, int]]]:
    """The layers that read a concatenation in the way up, with its parts' old and new widths."""
    found = {}
    for i, (block, wider) in enumerate(zip(old.up_blocks, new.up_blocks, strict=True)):
        before = old.config.block_out_channels[::-1][max(0, i - 1)], new.config.block_out_channels[::-1][max(0, i - 1)]
        for j, (a, b) in enumerate(zip(block.resnets, wider.resnets, strict=True)):
            first = before if j == 0 else (a.out_channels, b.out_channels)
            rest = a.in_channels - first[0], b.in_channels - first[1]
            for layer in ("norm1", "conv1", "conv_shortcut"):
                found[f"up_blocks.{i}.resnets.{j}.{layer}"] = [first, rest]
    return found


def _shares(shape: torch.Size, places: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random parts (out, in, 1, ...) by which the copies of a channel are read; those of one channel sum up to 1."""
    raw = 0.5 + torch.rand(shape[:2], generator=generator)
    total = torch.zeros(shape[0], int(places.max()) + 1).index_add_(1, places, raw)
    shares = raw / total.index_select(1, places)
    return shares.reshape(*shape[:2], *[1] * (len(shape) - 2))


def _spread_frequencies(weight: torch.Tensor, width: int) -> torch.Tensor:
    """The timestep's cosines and sines: a multiple of the old width has the old frequencies among its own."""
    step = width // weight.shape[1]
    wider = weight.new_zeros(weight.shape[0], width)
    wider[:, ::step] = weight
    return wider
