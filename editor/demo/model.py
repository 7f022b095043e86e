"""The built-in model as the demo's own commands use it: its parts, read from the checkpoint folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from editor.demo.train_unet import sample
from editor.demo.train_vae import decoded, encoded
from editor.events import EditError
from editor.settings import ROOT

FOLDER = ROOT / "assets" / "demo_model"


@dataclass(frozen=True)
class DemoModel:
    """The parts in float32 on the CPU, which is fast enough at this size."""

    tokenizer: CLIPTokenizer
    text: CLIPTextModel
    unet: UNet2DConditionModel
    vae: AutoencoderKL

    @classmethod
    def load(cls, folder: Path = FOLDER) -> Self:
        """Read the checkpoint. Raises `EditError` where it has not been trained yet."""
        if not (folder / "unet").is_dir():
            raise EditError(f"There is no model in {folder}. Train one: python -m editor.demo.train --help")
        kind = {"use_safetensors": True, "torch_dtype": torch.float32}
        return cls(
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval(),
            UNet2DConditionModel.from_pretrained(folder / "unet", **kind).eval(),
            AutoencoderKL.from_pretrained(folder / "vae", **kind).eval(),
        )

    def generate(self, prompts: list[str], steps: int = 25, guidance: float = 5.0, seed: int = 0) -> np.ndarray:
        """One frame per prompt, uint8 (N, 96, 96, 3), 32 at a time."""
        parts = [
            sample(self.unet, self.text, self.vae, self.tokenizer, prompts[i : i + 32], steps, guidance, seed + i)
            for i in range(0, len(prompts), 32)
        ]
        return np.concatenate(parts)

    def encode(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 (N, H, W, 3) -> scaled latents (N, C, h, w)."""
        return encoded(self.vae, frames)

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Scaled latents (N, C, h, w) -> uint8 (N, H, W, 3)."""
        return decoded(self.vae, latents)
