"""The built-in model's parts, in Stable Diffusion's layout, before training: shapes and configurations stand here."""

from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from editor.demo.world import SIZE

TOKENS = 77
TEXT_WIDTH = 128
LATENT_CHANNELS = 4
WIDTHS = (64, 128, 192)
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
