"""Frames to latents and back, and the size at which the model works.

Frames are uint8 (F, H, W, 3) in 0..255; latents are float32 (F, C, h, w) in the checkpoint's scaling. The aspect ratio
is never changed: frames are scaled, and mirrored at the right and lower edge up to the next size that every level of
the UNet can halve; the way back cuts that margin off.
"""

from collections.abc import Iterator
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


def plan_fit(width: int, height: int, longer_side: int, multiple: int) -> Fit:
    """How a clip of `width` x `height` is brought to the model: longer side `longer_side`, both sides a `multiple`."""
    scale = longer_side / max(width, height)
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
def encode_frames(vae: AutoencoderKL, frames: np.ndarray, chunk: int, device: torch.device) -> torch.Tensor:
    """Latents (F, C, h, w) of `frames`, float32 on `device`: the posterior's mean, `chunk` frames at a time."""
    dtype = next(vae.parameters()).dtype
    parts = []
    for part in _chunks(len(frames), chunk):
        pixels = torch.from_numpy(np.ascontiguousarray(frames[part])).permute(0, 3, 1, 2).to(device, dtype)
        parts.append(vae.encode(pixels / 127.5 - 1.0).latent_dist.mean.float())
    latents = (torch.cat(parts) - _shift(vae)) * vae.config.scaling_factor
    require_finite(latents, "encoding the clip")
    return latents


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: torch.Tensor, chunk: int) -> np.ndarray:
    """Frames of `latents` (F, C, h, w), `chunk` frames at a time. Raises `EditError` on NaN: never a black video."""
    require_finite(latents, "denoising")
    dtype = next(vae.parameters()).dtype
    parts = []
    for part in _chunks(len(latents), chunk):
        pixels = vae.decode((latents[part] / vae.config.scaling_factor + _shift(vae)).to(dtype)).sample.float()
        require_finite(pixels, "decoding the frames")
        parts.append(((pixels + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


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
