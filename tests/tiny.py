"""Tiny but real diffusers and transformers components with random weights, for tests in seconds.

`components("sd15")` has Stable Diffusion 1.x's layout (4 levels, 16 attention blocks), `"sd21"` the same with a head
count per level and linear projections, `"demo"` the layout of the built-in model, `"two levels"` the cheapest one.
`save_checkpoint` writes a whole checkpoint folder as Stable Diffusion ships it. Small drawn clips stand at the end.
"""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from editor.media import ffmpeg_path, write_video

WORDS = (
    "a an the of on in at and with to is photo red blue green yellow car bus dog cat rabbit bird child bike boat ball "
    "road street snow grass beach forest night day sky is moving riding running turning eating on watercolor painting "
    "style cartoon black white big small"
).split()
"""Words that are one token; any other word is spelled with several tokens."""

START, END = "<|startoftext|>", "<|endoftext|>"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LATENT_CHANNELS = 4
TEXT_WIDTH = 32

LAYOUTS: dict[str, dict] = {
    "sd15": {
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "block_out_channels": (16, 16, 32, 32),
        "attention_head_dim": 4,
        "layers_per_block": 2,
        "sample_size": 16,
    },
    "sd21": {
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "block_out_channels": (16, 16, 32, 32),
        "attention_head_dim": (2, 4, 4, 4),
        "use_linear_projection": True,
        "layers_per_block": 2,
        "sample_size": 16,
    },
    "demo": {
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (16, 32, 32),
        "attention_head_dim": (2, 4, 4),
        "layers_per_block": 1,
        "sample_size": 8,
    },
    "two levels": {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (8, 8),
        "attention_head_dim": 2,
        "layers_per_block": 1,
        "sample_size": 8,
    },
}
PREDICTION = {"sd15": "epsilon", "sd21": "v_prediction", "demo": "v_prediction", "two levels": "v_prediction"}


@dataclass(frozen=True)
class Tiny:
    """The parts of one checkpoint, in memory, in eval mode."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: DDIMScheduler

    @torch.no_grad()
    def embed(self, prompt: str) -> torch.Tensor:
        """(1, 77, d) text embedding of `prompt`."""
        ids = self.tokenizer(
            prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        return self.text_encoder(ids)[0]

    def latents(self, frames: int = 3, size: int = 8, seed: int = 0) -> torch.Tensor:
        """Random latents (frames, C, size, size) of unit variance."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(frames, LATENT_CHANNELS, size, size, generator=generator).to(self.unet.dtype)


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins that byte-level BPE gives the bytes: visible ones themselves, others from 256 on."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = (chr(256 + i) for i in range(256 - len(visible)))
    return [chr(b) if b in visible else next(hidden) for b in range(256)]


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Merges that make each word one token: later merges rank lower, so they cannot undo an earlier word."""
    merges: dict[tuple[str, str], int] = {}
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: merges.get(pair, len(merges)))
            merges.setdefault(best, len(merges))
            i = pairs.index(best)
            parts[i : i + 2] = ["".join(best)]
    return list(merges)


def write_tokenizer(folder: Path) -> Path:
    """Write vocab.json, merges.txt and the two config files of a CLIP tokenizer that knows `WORDS`."""
    folder.mkdir(parents=True, exist_ok=True)
    symbols, merges = _byte_symbols(), _merges(WORDS)
    tokens = dict.fromkeys([*symbols, *(s + "</w>" for s in symbols), *("".join(m) for m in merges), START, END])
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in merges)]) + "\n")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {**special, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@cache
def tokenizer() -> CLIPTokenizer:
    """The tokenizer of `WORDS`, read from a written folder as a checkpoint's would be."""
    return CLIPTokenizer.from_pretrained(write_tokenizer(Path(mkdtemp(prefix="tiny-tokenizer-"))))


def unet(layout: str = "sd15", seed: int = 0, *, sharpness: float = 4.0, **changes: object) -> UNet2DConditionModel:
    """A tiny UNet. `sharpness` scales the queries, so that attention is not uniform as fresh weights make it."""
    torch.manual_seed(seed)
    shape = {"in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS, "norm_num_groups": 4}
    model = UNet2DConditionModel(**{**shape, "cross_attention_dim": TEXT_WIDTH, **LAYOUTS[layout], **changes})
    for name, parameter in model.named_parameters():
        if name.endswith("to_q.weight"):
            parameter.data.mul_(sharpness)
    return model.eval().requires_grad_(False)


def text_encoder(seed: int = 0) -> CLIPTextModel:
    """A tiny CLIP text encoder for `tokenizer()`."""
    torch.manual_seed(seed)
    tokens = tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    return CLIPTextModel(config).eval().requires_grad_(False)


def vae(layout: str = "sd15", seed: int = 0) -> AutoencoderKL:
    """A tiny AutoencoderKL: factor 8, or 4 in the demo layout."""
    torch.manual_seed(seed)
    levels = 3 if layout == "demo" else 4
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(8,) * levels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=LAYOUTS[layout]["sample_size"] * 2 ** (levels - 1),
    )
    return model.eval().requires_grad_(False)


def scheduler(prediction: str = "epsilon") -> DDIMScheduler:
    """DDIM with the levels of Stable Diffusion, as the engine sets it up."""
    return DDIMScheduler(
        **BETAS,
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )


def components(layout: str = "sd15", prediction: str | None = None, seed: int = 0) -> Tiny:
    """All parts of a tiny checkpoint; `prediction` defaults to the layout's own."""
    return Tiny(
        tokenizer=tokenizer(),
        text_encoder=text_encoder(seed),
        vae=vae(layout, seed),
        unet=unet(layout, seed),
        scheduler=scheduler(prediction or PREDICTION[layout]),
    )


def save_checkpoint(
    folder: Path, layout: str = "sd15", prediction: str | None = None, *, pndm: bool = True, seed: int = 0
) -> Path:
    """Write a checkpoint folder as Stable Diffusion ships it (safetensors, vocab.json and merges.txt).

    With `pndm` the scheduler's config is the PNDM one of SD 1.x, otherwise DDIM's.
    """
    from diffusers import StableDiffusionPipeline  # here: it imports far more than the other tests need

    parts = components(layout, prediction, seed)
    ships = parts.scheduler
    if pndm:
        kind = parts.scheduler.config.prediction_type
        ships = PNDMScheduler(
            **BETAS, prediction_type=kind, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False
        )
    pipeline = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=ships,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    for written in (folder / "tokenizer").iterdir():  # the published checkpoints have vocab.json and merges.txt only
        written.unlink()
    write_tokenizer(folder / "tokenizer")
    return folder


def save_clip(folder: Path) -> Path:
    """A whole CLIP model with the processor of its inputs, in `folder`."""
    torch.manual_seed(0)
    tokens = tokenizer()
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**small, "vocab_size": len(tokens), "eos_token_id": tokens.eos_token_id, "bos_token_id": 0}
    vision = {**small, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokens).save_pretrained(folder)
    return folder


def moving_square(frames: int = 8, width: int = 48, height: int = 32) -> np.ndarray:
    """A red square that crosses a shaded ground: uint8 (frames, height, width, 3)."""
    ground = np.linspace(40, 160, width, dtype=np.uint8)[None, None, :, None]
    pictures = np.broadcast_to(ground, (frames, height, width, 3)).copy()
    side = height // 3
    for i in range(frames):
        left = round(i * (width - side) / max(1, frames - 1))
        pictures[i, side : 2 * side, left : left + side] = (210, 40, 30)
    return pictures


def write_clip(path: Path, frames: np.ndarray | None = None, fps: float = 8.0, sound: bool = False) -> Path:
    """Write `frames` (default: `moving_square()`) to `path`, with a tone when `sound`."""
    frames = moving_square() if frames is None else frames
    write_video(frames, fps, path)
    if sound:
        silent = path.with_name("silent-" + path.name)
        path.rename(silent)
        tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={len(frames) / fps}"]
        command = [ffmpeg_path(), "-v", "error", "-i", str(silent), *tone, "-c:v", "copy", "-c:a", "aac", str(path)]
        subprocess.run(command, check=True)
        silent.unlink()
    return path
