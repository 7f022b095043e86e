"""Training of the built-in autoencoder on frames of the demo world."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from editor.demo.components import make_vae
from editor.demo.dataset import training_frames
from editor.demo.loop import Run, grid
from editor.demo.workers import OTHER_PROCESS, first_process_first, rank

BATCH, CROP = 8, 48
WHOLE_SHARE = 0.3  # of the steps see fewer, whole frames, so that the middle attention meets its real length
GRADIENT_WEIGHT, KL_WEIGHT = 0.5, 3e-4


def train_vae(
    folder: Path,
    minutes: float,
    resume: bool,
    frames: int,
    device: str,
    seed: int = 0,
    frozen: AutoencoderKL | None = None,
) -> AutoencoderKL:
    """Train for `minutes` in `folder`; returns the averaged model with unit-variance latents, on the CPU.

    With `frozen`, a trained model, its decoder alone is trained on: the latents, and so a UNet trained on them, stay.
    """
    torch.manual_seed(seed)
    with first_process_first():
        pictures = training_frames(frames, folder.parent / "data")
    vae = (frozen or make_vae()).to(device)
    if frozen:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    run = Run(folder, {"vae": vae}, minutes, seed, peak=2e-3, ema_decay=0.999, config={"batch": BATCH, "crop": CROP})
    if resume:
        run.resume()

    def sheet() -> np.ndarray:
        some = pictures[: 7 * 64 : 64]
        return grid(np.concatenate([some, decoded(vae, encoded(vae, some))]), 7)

    run.train(
        _crops(pictures, device, seed + run.step + OTHER_PROCESS * rank()), lambda batch: vae_loss(vae, batch), sheet
    )
    run.ema.copy_to(run.parameters)
    if not frozen:
        fold_latent_scale(vae, frames_tensor(pictures[:: max(1, len(pictures) // 512)], device))
    return vae.cpu()


def vae_loss(vae: AutoencoderKL, batch: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, error of the image gradients, and a small divergence to the unit normal."""
    posterior = vae.encode(batch).latent_dist
    again = vae.decode(posterior.sample()).sample
    error = again - batch
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    divergence = posterior.kl().mean() / posterior.mean[0].numel()
    return error.abs().mean() + 4 * error.square().mean() + GRADIENT_WEIGHT * edges + KL_WEIGHT * divergence


@torch.no_grad()
def fold_latent_scale(vae: AutoencoderKL, frames: torch.Tensor) -> None:
    """Change the two 1x1 convolutions at the latents so that each channel has mean 0 and variance 1 on `frames`.

    Exact: encoding and decoding compose to the same map as before.
    """
    means = torch.cat([vae.encode(part).latent_dist.mean for part in frames.split(32)])
    mean, std = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
    into, back, channels = vae.quant_conv, vae.post_quant_conv, len(mean)
    into.weight[:channels] /= std[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / std
    into.bias[channels:] -= 2 * std.log()
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= std[None, :, None, None]


@torch.no_grad()
def encoded(vae: AutoencoderKL, frames: np.ndarray, chunk: int = 32) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> scaled latents (N, C, h, w): the posterior's mean, `chunk` frames at a time."""
    starts, device = range(0, len(frames), chunk), str(vae.device)
    means = [vae.encode(frames_tensor(frames[i : i + chunk], device)).latent_dist.mean for i in starts]
    return torch.cat(means) * vae.config.scaling_factor


@torch.no_grad()
def decoded(vae: AutoencoderKL, latents: torch.Tensor, chunk: int = 32) -> np.ndarray:
    """Scaled latents (N, C, h, w) -> uint8 (N, H, W, 3)."""
    parts = [vae.decode(part / vae.config.scaling_factor).sample for part in latents.split(chunk)]
    pictures = torch.cat(parts).clamp(-1, 1).permute(0, 2, 3, 1)
    return np.round(127.5 * (pictures.cpu().numpy() + 1)).astype(np.uint8)


def frames_tensor(frames: np.ndarray, device: str) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in -1..1."""
    return torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _crops(pictures: np.ndarray, device: str, seed: int) -> Iterator[torch.Tensor]:
    rng, side = np.random.default_rng(seed), pictures.shape[1]
    while True:
        crop, count = (side, max(1, BATCH * CROP**2 // side**2)) if rng.random() < WHOLE_SHARE else (CROP, BATCH)
        corners = [(int(rng.integers(len(pictures))), *rng.integers(0, side - crop + 1, 2)) for _ in range(count)]
        yield frames_tensor(np.stack([pictures[i, y : y + crop, x : x + crop] for i, y, x in corners]), device)
