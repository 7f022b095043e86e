"""Frames to latents and back, and the size at which the model works.

Frames are uint8 (F, H, W, 3) in 0..255; latents are float32 (F, C, h, w) in the checkpoint's scaling. The aspect ratio
is never changed: frames are scaled, and mirrored at the right and lower edge up to the next size that every level of
the UNet can halve; the way back cuts that margin off.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from editor.events import EditError


@dataclass(frozen=True)
class Fit:
    """Sizes as (width, height) in pixels: of the clip, scaled for the model, and with the mirrored margin."""

    clip: tuple[int, int]
    scaled: tuple[int, int]
    padded: tuple[int, int]


def plan_fit(width: int, height: int, side: int, multiple: int, longer_side: int | None = None) -> Fit:
    """How a clip of `width` x `height` is brought to a model trained at `side` x `side`, both sides a `multiple`.

    The model's area is kept, whatever the shape: what a cell shows then has the size it had in training. With a
    `longer_side` that counts instead.
    """
    scale = longer_side / max(width, height) if longer_side else side / math.sqrt(width * height)
    scaled = (max(1, round(width * scale)), max(1, round(height * scale)))
    padded = tuple(-(-side // multiple) * multiple for side in scaled)
    return Fit((width, height), scaled, padded)


def fit_frames(frames: np.ndarray, fit: Fit) -> np.ndarray:
    """Scale `frames` to `fit.scaled` and mirror them up to `fit.padded`."""
    scaled = _resized(frames, fit.scaled)
    right, below = (p - s for p, s in zip(fit.padded, fit.scaled, strict=True))
    # 'symmetric' repeats as often as needed, also when the margin is wider than the picture
    return np.pad(scaled, ((0, 0), (0, below), (0, right), (0, 0)), mode="symmetric")


def unpad_frames(frames: np.ndarray, fit: Fit) -> np.ndarray:
    """Cut the mirrored margin off: from `fit.padded` to `fit.scaled`."""
    width, height = fit.scaled
    return frames[:, :height, :width]


def unfit_frames(frames: np.ndarray, fit: Fit) -> np.ndarray:
    """The way back from `fit.padded` to the clip's own size."""
    return _resized(unpad_frames(frames, fit), fit.clip)


@torch.no_grad()
def encode_frames(
    vae: AutoencoderKL,
    frames: np.ndarray,
    chunk: int,
    device: torch.device,
    tile: int | None = None,
    *,
    drawn: bool = False,
) -> torch.Tensor:
    """Latents (F, C, h, w) of `frames`, float32 on `device`: the posterior's mean, `chunk` frames at a time, and with
    a `tile` in overlapping tiles of that side in pixels.

    With `drawn` they are drawn from the posterior, as in the paper's code, with the same noise for a clip every time.
    """
    dtype = next(vae.parameters()).dtype
    parts, spreads = [], []
    for part in _chunks(len(frames), chunk):
        pixels = torch.from_numpy(np.ascontiguousarray(frames[part])).permute(0, 3, 1, 2).to(device, dtype)
        with tiled(vae, tile):
            found = vae.encode(pixels / 127.5 - 1.0).latent_dist
        parts.append(found.mean.float())
        spreads.append(found.std.float() if drawn else None)
    latents = torch.cat(parts)
    if drawn:  # the noise comes from the CPU, so that a seed means the same on every device
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
        latents = latents + torch.cat(spreads) * noise
    latents = (latents - _shift(vae)) * vae.config.scaling_factor
    require_finite(latents, "encoding the clip")
    return latents


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: torch.Tensor, chunk: int, tile: int | None = None) -> np.ndarray:
    """Frames of `latents` (F, C, h, w), `chunk` frames and tiles of `tile` pixels at a time.

    Raises `EditError` on NaN: never a black video.
    """
    require_finite(latents, "denoising")
    dtype = next(vae.parameters()).dtype
    parts = []
    for part in _chunks(len(latents), chunk):
        with tiled(vae, tile):
            pixels = vae.decode((latents[part] / vae.config.scaling_factor + _shift(vae)).to(dtype)).sample.float()
        require_finite(pixels, "decoding the frames")
        parts.append(((pixels + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


@contextmanager
def tiled(vae: AutoencoderKL, tile: int | None) -> Iterator[None]:
    """Let the VAE work in overlapping tiles of `tile` pixels, blended at their seams; None: whole pictures."""
    names = ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")
    before = [getattr(vae, name) for name in names]
    if tile is not None:
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        for name, value in zip(names, (True, tile, tile // factor), strict=True):
            setattr(vae, name, value)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(vae, name, value)


def require_finite(values: torch.Tensor, during: str) -> None:
    """Raise `EditError` naming the stage when `values` hold NaN or infinity."""
    if not bool(torch.isfinite(values).all()):
        raise EditError(
            f"The numbers overflowed (NaN) while {during} in {str(values.dtype)[6:]}, so no video was written. "
            "Likely causes: a damaged checkpoint, a guidance scale or word weight that is too high, or half precision "
            "on this GPU. Lower guidance_scale, run `python -m editor doctor --selftest`, or use EDITOR_DEVICE=cpu."
        )


def _chunks(count: int, chunk: int) -> Iterator[slice]:
    return (slice(at, at + chunk) for at in range(0, count, chunk))


def _shift(vae: AutoencoderKL) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0


def _resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames at `size` (width, height), Lanczos; the same frames when they have it already."""
    if (frames.shape[2], frames.shape[1]) == size:
        return frames
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.LANCZOS)) for f in frames])
