"""The configurations of Stable Diffusion's kinds, for what comes without them: single files, counting, random weights.

As published with the checkpoints of each kind; a diffusers folder brings its own.
"""

from dataclasses import dataclass
from typing import Any

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
"""The noise levels that all of them were trained with."""

DDIM = {
    "clip_sample": False,
    "thresholding": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""How the scheduler is set up over whatever noise levels a checkpoint has."""


@dataclass(frozen=True)
class Layout:
    """The configurations of one kind's parts; `text_2` is the second text encoder's, where there is one."""

    title: str
    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    prediction_type: str
    text_2: dict[str, Any] | None = None


def _unet(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return {"down_block_types": down, "up_block_types": up, "block_out_channels": (320, 640, 1280, 1280), **changes}


def _vae(levels: int = 4, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    widths = {"block_out_channels": (128, 256, 512, 512), "latent_channels": 4, "layers_per_block": 2}
    return {**blocks, **widths, **changes}


def _text(width: int, layers: int, heads: int, act: str) -> dict[str, Any]:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width}
    return {**sizes, "num_hidden_layers": layers, "num_attention_heads": heads, "hidden_act": act}


CLIP_L = _text(768, 12, 12, "quick_gelu")

LAYOUTS: dict[str, Layout] = {
    "sd15": Layout(
        "Stable Diffusion 1.x",
        unet=_unet(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
        vae=_vae(sample_size=512),
        text=CLIP_L,
        prediction_type="epsilon",
    ),
    "sd21": Layout(
        "Stable Diffusion 2.x",
        unet=_unet(
            cross_attention_dim=1024,
            attention_head_dim=(5, 10, 20, 20),
            use_linear_projection=True,
            upcast_attention=True,
            sample_size=96,
        ),
        vae=_vae(sample_size=768),
        text=_text(1024, 23, 16, "gelu"),
        prediction_type="v_prediction",
    ),
    "sdxl": Layout(
        "Stable Diffusion XL",
        unet={
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "block_out_channels": (320, 640, 1280),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
            "sample_size": 128,
        },
        vae=_vae(sample_size=1024, scaling_factor=0.13025),
        text=CLIP_L,
        prediction_type="epsilon",
        text_2=_text(1280, 32, 20, "gelu"),
    ),
}
