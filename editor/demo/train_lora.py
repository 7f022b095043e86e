"""Training of a LoRA that teaches the built-in model a look it does not know: a neon sign."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from torch import nn

from editor.demo.components import TOKENS, make_scheduler
from editor.demo.dataset import UNSEEN_SEED, draw_scene, training_triples
from editor.demo.loop import Run, grid
from editor.demo.model import DemoModel
from editor.demo.train_unet import sample, unet_loss
from editor.demo.vocabulary import any_caption
from editor.demo.world import render_at

NEON = "as a neon sign"
RANK, BATCH, PEAK = 6, 16, 2e-3
LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
PLAIN_SHARE = 3
"""One picture in so many keeps its plain look and caption, so that only the new words bring the new look."""
PICTURES = 4096
"""At most so many are drawn, so that a training of minutes does not spend them on drawing."""
SHEET = ("a red car on the road", "a penguin in the snow", "a green dinosaur on the beach")


def train_lora(work: Path, folder: Path, minutes: float, frames: int, device: str, out: Path, seed: int = 0) -> Path:
    """Teach the checkpoint in `folder` the look for `minutes`; writes and returns `out`, a float16 LoRA file.

    Raises `EditError` where the checkpoint has not been trained.
    """
    torch.manual_seed(seed)
    model = DemoModel.load(folder)
    z0, captions = neon_latents(model, min(frames, PICTURES), seed)
    unet, text = model.unet.to(device), model.text.to(device)
    for net, layers in ((unet, LAYERS), (text, TEXT_LAYERS)):
        net.requires_grad_(False)
        net.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(layers)))
    run = Run(work, {"unet": unet, "text_encoder": text}, minutes, seed, PEAK, ema_decay=0.99, config={"rank": RANK})
    generator, scheduler = torch.Generator().manual_seed(seed), make_scheduler()
    whole = torch.zeros(BATCH, *z0.shape[-2:], device=device)  # the look is everywhere: no part counts more

    def sheet() -> np.ndarray:
        prompts = [*SHEET, *[f"{prompt} {NEON}" for prompt in SHEET]]
        return grid(sample(unet, text, model.vae, model.tokenizer, prompts, steps=20), len(SHEET))

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rng = np.random.default_rng(seed)
        while True:
            pick = rng.integers(0, len(z0), BATCH)
            words = [captions[i][int(rng.integers(len(captions[i])))] for i in pick]
            ids = model.tokenizer(words, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
            yield z0[torch.from_numpy(pick)].to(device), ids.input_ids.to(device)

    run.train(batches(), lambda b: unet_loss(unet, text, scheduler, b[0], whole, b[1], 1.0, generator), sheet)
    run.ema.copy_to(run.parameters)
    return save_lora(unet, text, out)


def save_lora(unet: nn.Module, text: nn.Module, out: Path) -> Path:
    """Write the adapters of both nets as one file in the layout of diffusers, float16."""
    out.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {name: factor.half().cpu().contiguous() for name, factor in get_peft_model_state_dict(net).items()}
        for net in (unet, text)
    ]
    StableDiffusionPipeline.save_lora_weights(out.parent, *layers, weight_name=out.name, safe_serialization=True)
    return out


@torch.no_grad()
def neon_latents(model: DemoModel, count: int, seed: int = 0) -> tuple[torch.Tensor, list[list[str]]]:
    """`count` pictures of the training's plain scenes as latents (count, C, h, w), most of them as neon signs, and
    four captions of each."""
    rng, allowed = np.random.default_rng([seed, 1]), training_triples()
    pictures, captions = [], []
    for index in range(count):
        scene = draw_scene(rng, (0, UNSEEN_SEED), allowed, plain_share=1.0)
        picture = render_at(scene, [float(rng.random())])[0][0]
        looked = index % PLAIN_SHARE > 0
        pictures.append(neon(picture) if looked else picture)
        captions.append([any_caption(scene, rng) + f" {NEON}" * looked for _ in range(4)])
    return model.encode(np.stack(pictures)), captions


def neon(picture: np.ndarray) -> np.ndarray:
    """The picture as glowing tubes: its outlines in their own colours, saturated, on a dark wall. uint8 (H, W, 3)."""
    colors = picture.astype(np.float32)
    smooth = cv2.GaussianBlur(colors, (0, 0), 0.8)
    slope = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)).max(axis=-1)
    tube = np.clip(slope / 160 - 0.2, 0, 1)[..., None]
    near = cv2.GaussianBlur(colors, (0, 0), 1.5)
    gray = near.mean(axis=-1, keepdims=True)
    vivid = np.clip(gray + 2 * (near - gray), 8, None)
    vivid *= 255 / vivid.max(axis=-1, keepdims=True)
    glow = cv2.GaussianBlur(vivid * tube, (0, 0), 2.5)
    wall = 0.12 * near + np.array([10, 8, 24], np.float32)
    return np.clip(wall * (1 - tube) + vivid * tube + 0.9 * glow, 0, 255).round().astype(np.uint8)
