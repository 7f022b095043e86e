"""Training of the built-in autoencoder on frames of the demo world."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from editor.demo.components import make_vae
from editor.demo.dataset import training_frames
from editor.demo.loop import Run, grid

BATCH, CROP = 8, 48
GRADIENT_WEIGHT, KL_WEIGHT = 0.5, 3e-4


def train_vae(folder: Path, minutes: float, resume: bool, frames: int, device: str, seed: int = 0) -> AutoencoderKL:
    """Train for `minutes` in `folder`; returns the averaged model with unit-variance latents, on the CPU."""
    torch.manual_seed(seed)
    pictures, _ = training_frames(frames, folder.parent / "data")
    vae = make_vae().to(device)
    run = Run(folder, {"vae": vae}, minutes, seed, peak=2e-3, ema_decay=0.999, config={"batch": BATCH, "crop": CROP})
    if resume:
        run.resume()

    def sheet() -> np.ndarray:
        some = frames_tensor(pictures[: 7 * 64 : 64], device)
        again = vae.decode(vae.encode(some).latent_dist.mean).sample
        both = torch.cat([some, again]).clamp(-1, 1).permute(0, 2, 3, 1)
        return grid(np.round(127.5 * (both.cpu().numpy() + 1)).astype(np.uint8), 7)

    run.train(_crops(pictures, device, seed + run.step), lambda batch: vae_loss(vae, batch), sheet)
    run.ema.__enter__()
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


def frames_tensor(frames: np.ndarray, device: str) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> float (N, 3, H, W) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _crops(pictures: np.ndarray, device: str, seed: int) -> Iterator[torch.Tensor]:
    rng, side = np.random.default_rng(seed), pictures.shape[1]
    while True:
        corners = [(int(rng.integers(len(pictures))), *rng.integers(0, side - CROP + 1, 2)) for _ in range(BATCH)]
        yield frames_tensor(np.stack([pictures[i, y : y + CROP, x : x + CROP] for i, y, x in corners]), device)
