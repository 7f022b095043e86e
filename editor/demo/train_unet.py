"""Training of the built-in UNet together with its text encoder, on cached latents of demo-world frames."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from editor.demo.components import FACTOR, TOKENS, load_tokenizer, make_scheduler, make_text_encoder, make_unet, widen
from editor.demo.dataset import training_frames, training_masks, training_moments
from editor.demo.loop import Run, decay, grid
from editor.demo.train_vae import decoded, encoded
from editor.demo.workers import OTHER_PROCESS, first_process_first, rank

BATCH = 16  # per process
PEAK, PEAK_AGAIN = 7e-4, 3.5e-4
"""Of the learning rate: for a net that is new or has just been widened, and for one that is trained once more."""
TEXT_DROPOUT = 0.1  # share of captions emptied, so that guidance has its unconditional prediction
SUBJECT_WEIGHT = 5.0
"""How many times as much the error on the subject counts: a tenth of the picture and most of the difficulty."""
SKETCH_TIMES = 2
"""How many times a pencil sketch comes where another frame comes once: the error inside the subject, at t = 500, was
0.31 in sketches where it was 0.19 in plain frames, and two of three missed edits were sketches.
"""
SHEET = (
    "a red car on the road",
    "a blue fox in the snow",
    "a penguin in the desert",
    "a green dinosaur on the beach",
    "a purple balloon on the grass",
    "an orange fish in the forest",
    "a yellow tractor in the city at night",
    "a rocket in space",
    "a red apple on the beach, at sunset",
    "a blue turtle on the road as a pencil sketch",
    "a cow on the grass",
    "a yellow star in the snow",
)


def train_unet(
    folder: Path,
    tokenizer_folder: Path,
    vae: AutoencoderKL,
    minutes: float,
    resume: bool,
    frames: int,
    device: str,
    seed: int = 0,
    widen_from: Path | None = None,
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Train for `minutes` in `folder`; returns the averaged UNet and text encoder, on the CPU.

    The subject's weight falls to 1 with the learning rate, so that the rest of the picture comes back at the end.
    """
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(tokenizer_folder)
    scheduler = make_scheduler()
    unet, text, peak = _start(make_unet(vae.config.latent_channels), make_text_encoder(tokenizer), widen_from)
    unet.to(device, memory_format=torch.channels_last)  # a fifth quicker on a CPU
    text.to(device)
    with first_process_first():
        latents, masks, ids = cached_latents(vae, tokenizer, folder.parent / "data", frames, device)
    times = [SKETCH_TIMES if scene.look == "sketch" else 1 for scene, _, _ in training_moments(frames)]
    config = {"batch": BATCH, "subject_weight": SUBJECT_WEIGHT, "peak": peak, "widened": widen_from is not None}
    parts = {"unet": unet, "text_encoder": text}
    run = Run(folder, parts, minutes, seed, peak=peak, ema_decay=0.999, config=config)
    if resume:
        run.resume()
    own_seed = seed + run.step + _mark(parts) + OTHER_PROCESS * rank()
    generator = torch.Generator().manual_seed(own_seed)

    def sheet() -> np.ndarray:
        return grid(sample(unet, text, vae, tokenizer, list(SHEET), steps=20), 6)

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        weight = 1 + (SUBJECT_WEIGHT - 1) * decay(run.budget.part)
        return unet_loss(unet, text, scheduler, *batch, weight, generator)

    run.train(_batches(latents, masks, ids, times, tokenizer, device, own_seed), loss_of, sheet)
    run.ema.copy_to(run.parameters)
    return unet.cpu().to(memory_format=torch.contiguous_format), text.cpu()  # safetensors writes no other format


def _start(
    unet: UNet2DConditionModel, text: CLIPTextModel, widen_from: Path | None
) -> tuple[UNet2DConditionModel, CLIPTextModel, float]:
    """The nets as they are made, or filled from those of the checkpoint folder `widen_from`, which may be narrower; and
    the peak of the learning rate that suits them.
    """
    if widen_from is None:
        return unet, text, PEAK
    kind = {"use_safetensors": True, "torch_dtype": torch.float32}
    narrow = UNet2DConditionModel.from_pretrained(widen_from / "unet", **kind)
    text = CLIPTextModel.from_pretrained(widen_from / "text_encoder", dtype=torch.float32)
    same = tuple(narrow.config.block_out_channels) == tuple(unet.config.block_out_channels)
    return widen(narrow, unet), text.train(), PEAK_AGAIN if same else PEAK


def _mark(parts: dict[str, nn.Module]) -> int:
    """A number of the weights, so that a run that goes on from a trained net does not repeat the order of the frames
    and the noise by which that net was trained.
    """
    total = sum(float(p.detach().double().abs().sum()) for module in parts.values() for p in module.parameters())
    return int(total * 1000) % 2**31


def unet_loss(
    unet: nn.Module,
    text: nn.Module,
    scheduler: DDIMScheduler,
    z0: torch.Tensor,
    mask: torch.Tensor,
    ids: torch.Tensor,
    weight: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of the velocity (arXiv 2202.00512, appendix D), `weight` times as much on the subject.

    `mask` (N, h, w) is the subject's share of each latent cell, 0 to 1. Times are drawn from a logit-normal (arXiv
    2403.03206, section 3.1), which visits the middle noise levels most, stratified over the batch.
    """
    count = len(z0)
    steps = scheduler.config.num_train_timesteps
    place = (torch.rand(count, generator=generator) + torch.randperm(count, generator=generator)) / count
    t = (torch.special.ndtri(place.clamp(1e-4, 1 - 1e-4)).sigmoid() * steps).long()
    noise = torch.randn(z0.shape, generator=generator)
    t, noise = t.to(z0.device), noise.to(z0.device)
    noisy, velocity = scheduler.add_noise(z0, noise, t), scheduler.get_velocity(z0, noise, t)
    predicted = unet(noisy, t, encoder_hidden_states=text(ids).last_hidden_state).sample
    weights = 1 + (weight - 1) * mask[:, None]
    return ((predicted - velocity).square() * weights).mean() / weights.mean()


@torch.no_grad()
def cached_latents(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, data: Path, count: int, device: str
) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Latents float16 (count, C, h, w), the subject's share of their cells float16 (count, h, w), and token ids
    (count, 4, 77) of the training frames.

    The latents are kept in `data` under the sum of the encoder's weights, so another encoder gets its own.
    """
    pictures = training_frames(count, data)
    mark = sum(float(p.double().sum()) for part in (vae.encoder, vae.quant_conv) for p in part.parameters())
    path = data / f"latents-{count}-{mark:.6f}.npy"
    if not path.exists():
        np.save(path, encoded(vae.to(device), pictures).half().cpu().numpy())
        vae.cpu()
    flat = [text for _, _, texts in training_moments(count) for text in texts]
    wordings, which = np.unique(flat, return_inverse=True)  # most captions come many times
    read = tokenizer(wordings.tolist(), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    ids = read.input_ids[torch.from_numpy(which)]
    masks = np.concatenate([cell_shares(part) for part in np.array_split(training_masks(count, data), 32)])
    return np.load(path), masks, ids.view(count, -1, TOKENS)


def cell_shares(masks: np.ndarray) -> np.ndarray:
    """Masks bool (N, H, W) -> the part of each latent cell that they cover, float16 (N, h, w)."""
    count, height, width = masks.shape
    cells = masks.reshape(count, height // FACTOR, FACTOR, width // FACTOR, FACTOR)
    return cells.mean(axis=(2, 4), dtype=np.float32).astype(np.float16)


def _batches(
    latents: np.ndarray,
    masks: np.ndarray,
    ids: torch.Tensor,
    times: list[int],
    tokenizer: CLIPTokenizer,
    device: str,
    seed: int,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches without end; in each round every frame comes as often as `times` says."""
    rng = np.random.default_rng(seed)
    empty = tokenizer("", padding="max_length", max_length=TOKENS, return_tensors="pt").input_ids[0]
    while True:
        order = rng.permutation(np.repeat(np.arange(len(latents)), times))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            pick = order[start : start + BATCH]
            words = ids[pick, rng.integers(0, ids.shape[1], BATCH)].clone()
            words[torch.from_numpy(rng.random(BATCH) < TEXT_DROPOUT)] = empty
            floats = (torch.from_numpy(a[pick]).float().to(device) for a in (latents, masks))
            yield (*floats, words.to(device))


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    prompts: list[str],
    steps: int = 25,
    guidance: float = 5.0,
    seed: int = 0,
) -> np.ndarray:
    """Generate one frame per prompt by DDIM. Returns uint8 (N, SIZE, SIZE, 3). The noise is drawn on the CPU."""
    device, scheduler = unet.device, make_scheduler()
    scheduler.set_timesteps(steps)
    ids = tokenizer([*prompts, *[""] * len(prompts)], padding="max_length", max_length=TOKENS, truncation=True)
    words = text(torch.tensor(ids.input_ids, device=device)).last_hidden_state
    side = unet.config.sample_size
    shape = (len(prompts), unet.config.in_channels, side, side)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
    for t in scheduler.timesteps:
        with_text, without = unet(torch.cat([z, z]), t, encoder_hidden_states=words).sample.chunk(2)
        z = scheduler.step(without + guidance * (with_text - without), t, z).prev_sample
    return decoded(vae.to(device), z)
