"""Checkpoints of known shape with random weights: for measuring, and for proving that a machine can run them.

They make noise, not pictures, but load, run, cost and fail exactly as trained ones of that shape do.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from editor.settings import ROOT

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TOKENIZER = ROOT / "assets" / "demo_model" / "tokenizer"
"""Any CLIP tokenizer serves; this one is shipped."""
SPREAD = 0.02
"""Standard deviation of the random weights, small enough that nothing overflows in half precision."""


@dataclass(frozen=True)
class Shape:
    """The configurations of one family's parts."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    prediction_type: str


def _unet(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return {"down_block_types": down, "up_block_types": up, "block_out_channels": (320, 640, 1280, 1280), **changes}


def _vae(levels: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    return {**blocks, "latent_channels": 4, "layers_per_block": 2, **changes}


SHAPES: dict[str, Shape] = {
    "sd15": Shape(
        unet=_unet(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
        vae=_vae(4, block_out_channels=(128, 256, 512, 512), sample_size=512),
        text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        prediction_type="epsilon",
    ),
    "sd21": Shape(
        unet=_unet(
            cross_attention_dim=1024,
            attention_head_dim=(5, 10, 20, 20),
            use_linear_projection=True,
            upcast_attention=True,
            sample_size=96,
        ),
        vae=_vae(4, block_out_channels=(128, 256, 512, 512), sample_size=768),
        text={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
        prediction_type="v_prediction",
    ),
    "small": Shape(
        unet={
            "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            "block_out_channels": (32, 64, 128),
            "layers_per_block": 1,
            "attention_head_dim": (1, 2, 4),
            "cross_attention_dim": 128,
            "norm_num_groups": 16,
            "sample_size": 24,
        },
        vae=_vae(3, block_out_channels=(16, 32, 64), layers_per_block=1, norm_num_groups=8, sample_size=96),
        text={"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4},
        prediction_type="v_prediction",
    ),
}
"""Stable Diffusion 1.5 and 2.1 in their true shape, and the shape of the built-in model."""


def random_unet(shape: str, seed: int = 0) -> UNet2DConditionModel:
    """The shape's UNet in evaluation mode, without gradients; the same weights for a seed everywhere."""
    return _filled(lambda: UNet2DConditionModel(**SHAPES[shape].unet), seed)


def save_random(shape: str, folder: Path, seed: int = 0) -> Path:
    """Write a whole checkpoint folder of random weights: safetensors, a PNDM scheduler config as SD 1.x ships it."""
    parts = SHAPES[shape]
    text = CLIPTextConfig(vocab_size=49408, projection_dim=parts.text["hidden_size"], **parts.text)
    makers = {
        "unet": lambda: UNet2DConditionModel(**parts.unet),
        "vae": lambda: AutoencoderKL(**parts.vae),
        "text_encoder": lambda: CLIPTextModel(text),
    }
    for name, make in makers.items():
        _filled(make, seed).save_pretrained(folder / name)
    shutil.copytree(TOKENIZER, folder / "tokenizer")
    scheduler = {"_class_name": "PNDMScheduler", "prediction_type": parts.prediction_type, **BETAS}
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


def meta_parts(shape: str) -> tuple[UNet2DConditionModel, AutoencoderKL]:
    """The shape's UNet and VAE without memory for weights: enough to count operations."""
    with torch.device("meta"):
        return UNet2DConditionModel(**SHAPES[shape].unet), AutoencoderKL(**SHAPES[shape].vae)


def _filled(make: Any, seed: int) -> Any:  # noqa: ANN401 - a module's class and an instance of it
    """Build without the usual initialisation, which takes a minute at full size, and draw plain normal weights.

    Norms get a scale of one, so that signals keep their size through the layers.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        module = make()
    module = module.to_empty(device="cpu")
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.data.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            parameter.data.normal_(0.0, SPREAD, generator=generator)
    for name, buffer in module.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return module.eval().requires_grad_(False)
