"""Checkpoints of known shape with random weights: for measuring, and for proving that a machine can run them.

They make noise, not pictures, but load, run, cost and fail exactly as trained ones of that shape do.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from editor.diffusion.catalog import read_json
from editor.diffusion.layouts import BETAS, LAYOUTS, Layout
from editor.settings import ROOT

TOKENIZER = ROOT / "assets" / "demo_model" / "tokenizer"
"""Any CLIP tokenizer serves; this one is shipped."""
VOCABULARY = 49408
"""Tokens of CLIP's vocabulary."""
SPREAD = 0.02
"""Standard deviation of the random weights, small enough that nothing overflows in half precision."""


BUILT_IN = ROOT / "assets" / "demo_model"


def layout(shape: str) -> Layout:
    """The configurations of a kind of Stable Diffusion, or of the built-in model as it is now, under the name small."""
    if shape != "small":
        return LAYOUTS[shape]
    unet, vae, text = (read_json(BUILT_IN / part / "config.json") for part in ("unet", "vae", "text_encoder"))
    kind = read_json(BUILT_IN / "scheduler" / "scheduler_config.json")["prediction_type"]
    sizes = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "projection_dim"}
    return Layout(
        "Built-in model",
        unet={name: value for name, value in unet.items() if not name.startswith("_")},
        vae={name: value for name, value in vae.items() if not name.startswith("_")},
        text={name: value for name, value in text.items() if name in sizes},
        prediction_type=kind,
    )


def random_unet(shape: str, seed: int = 0) -> UNet2DConditionModel:
    """The shape's UNet in evaluation mode, without gradients; the same weights for a seed everywhere."""
    return _filled(lambda: UNet2DConditionModel(**layout(shape).unet), seed)


def save_random(shape: str, folder: Path, seed: int = 0) -> Path:
    """Write a whole checkpoint folder of random weights: safetensors, a PNDM scheduler config as SD 1.x ships it."""
    parts = layout(shape)
    makers: dict[str, Callable[[], torch.nn.Module]] = {
        "unet": lambda: UNet2DConditionModel(**parts.unet),
        "vae": lambda: AutoencoderKL(**parts.vae),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(vocab_size=VOCABULARY, **parts.text)),
    }
    if parts.text_2 is not None:
        text_2 = CLIPTextConfig(vocab_size=VOCABULARY, **parts.text_2)
        makers["text_encoder_2"] = lambda: CLIPTextModelWithProjection(text_2)
        shutil.copytree(TOKENIZER, folder / "tokenizer_2")
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
        return UNet2DConditionModel(**layout(shape).unet), AutoencoderKL(**layout(shape).vae)


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
