"""Staying with the clip's pixels: the spatial loss while denoising, and the clip's own detail given back afterwards."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from editor.method.branches import BACKWARD
from editor.motion.fit import CERTAINTY, NOISE, color_fit, explained_share


@dataclass(frozen=True)
class SpatialLoss:
    """The loss against `frames` (F, 3, H, W) in -1..1, or uint8. Decodes `chunk` frames at a time to bound memory."""

    vae: AutoencoderKL
    frames: torch.Tensor
    pixel_weight: float
    gradient_weight: float
    chunk: int = 2

    def __call__(self, pixels: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """The loss of each frame, (F,), for decoded `pixels` and originals `frames`, both (F, 3, H, W)."""
        difference = pixels - frames
        down, right = (
            difference.diff(dim=2),
            difference.diff(dim=3),
        )  # gradients are linear: gradients of the difference
        loss = self.pixel_weight * difference.square().mean(dim=(1, 2, 3))
        if self.gradient_weight:
            edges = sum(d.square().mean(dim=(1, 2, 3)) for d in (down, right) if d.numel())
            loss = loss + self.gradient_weight * edges
        return loss

    def gradient(self, latents: torch.Tensor, eps: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        """d loss / d latents for latents (F, C, h, w) of level `alpha_bar`, `eps` held constant.

        The guess is x0 = (z - sqrt(1-a) eps) / sqrt(a), so the gradient at x0 is divided by sqrt(a).
        """
        parts = []
        for z, e, frames in zip(*(x.split(self.chunk) for x in (latents, eps, self.frames)), strict=True):
            clean = ((z - math.sqrt(1 - alpha_bar) * e) / math.sqrt(alpha_bar)).detach().requires_grad_(True)
            with torch.enable_grad():
                wanted = frames.to(clean) if frames.is_floating_point() else frames.to(clean) / 127.5 - 1
                loss = self(self.decode(clean), wanted).sum()
                parts.append(torch.autograd.grad(loss, clean)[0] / math.sqrt(alpha_bar))
        return torch.cat(parts)

    def descent(self, latents: torch.Tensor, eps: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        """The step to subtract from `latents`: the gradient times the cells per channel.

        A mean over all pixels has gradients that shrink with the picture; with h*w a weight means the same at any size.
        """
        return latents.shape[-2] * latents.shape[-1] * self.gradient(latents, eps, alpha_bar)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels (F, 3, H, W) of clean latents, differentiable."""
        config = self.vae.config
        shifted = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
        return self.vae.decode(shifted.to(self.vae.dtype)).sample.to(latents.dtype)

    @property
    def evaluations_per_step(self) -> float:
        """VAE decoder passes that one descent step takes per frame, forward 1 and backward as for the UNet."""
        return 1 + BACKWARD


LEAST = 1.0
"""Levels of 255 that the autoencoder loses everywhere, if only by rounding; what differs by less is no edit."""
FAINT, PLAIN = 3.0, 8.0
"""Levels of 255 by which an edit differs from the clip's round trip: up to the first it is the model's error and goes,
from the second on it is an edit."""
OUTSIDE, INSIDE = 0.3, 0.7
"""What a matte by the clip's colours says: up to the first it is beside the edit, from the second on within it."""
BELIEVED = 0.4
"""A matte that explains this share of the map's variance, or more, is believed wholly."""
WEAK, STRONG = 0.25, 0.5
"""Shares of the difference nearby: up to the first a place is beside the edit, from the second on it is within."""
MATTE_REACH = 4
"""Radius, in latent cells, of the square in which a matte is fitted, and of what is nearby."""


def acted(
    edited: np.ndarray, rebuilt: np.ndarray, cell: int, *, everywhere: bool = False, new_shapes: bool = False
) -> torch.Tensor:
    """How far a difference counts as an edit at each place: float32 (F, h, w), 0 is not at all, 1 is wholly.

    Faint differences do not. And as far as the clip's own colours tell what was edited from what was not, its edges are
    those of the clip: a linear function of the colours is fitted to the map, as mattes are (He et al. 2010, ECCV,
    section 3.4), and what lies beside it is a halo; but of `new_shapes` they tell nothing. What is weak beside a strong
    difference is a halo, too, unless the edit is `everywhere`, as a new look is. Other arguments as of `left_alone`.
    """
    levels = _mean_levels(edited, rebuilt, cell)
    counts = ((levels - FAINT) / (PLAIN - FAINT)).clamp(0, 1)
    if not new_shapes:
        trip = _channels_first(rebuilt)
        matrices, offset, explained, variance = _color_fit(255 * counts[:, None], trip, MATTE_REACH * cell)
        matte = (_through(matrices, trip) + offset)[:, 0] / 255
        halo = 1 - ((matte - OUTSIDE) / (INSIDE - OUTSIDE)).clamp(0, 1)
        counts = counts * (1 - halo * (explained / (variance + NOISE) / BELIEVED).clamp(0, 1))
    return counts if everywhere else counts * ((_share_of_nearby(levels, cell) - WEAK) / (STRONG - WEAK)).clamp(0, 1)


def _share_of_nearby(levels: torch.Tensor, cell: int) -> torch.Tensor:
    """`levels` (F, h, w) by their own mean around every place, in which each counts by how large it is."""
    own = levels[:, None] + 1e-6
    nearby = _around(own.square(), MATTE_REACH * cell) / _around(own, MATTE_REACH * cell)
    return (own / nearby)[:, 0]


def left_alone(
    edited: np.ndarray,
    rebuilt: np.ndarray,
    clip: np.ndarray,
    cell: int,
    counts: torch.Tensor,
    region: np.ndarray | None = None,
) -> torch.Tensor:
    """How far each place was left alone: float32 (F, h, w), 1 is wholly, 0 is changed.

    `edited`, `rebuilt` (the clip's round trip) and `clip` are uint8 (F, h, w, 3) at the model's size; `counts` says how
    far differences count, as `acted` has it; `region`, where the edit could act, is boolean (F, h, w), or None where
    that is not known. The share is L^2 / (L^2 + D^2) of what the autoencoder lost, L, and what the edit differs by, D:
    a difference counts by what the model could not draw anyway. Both are means over the neighbourhood of one latent
    `cell`, given in pixels, so that single pixels that agree by chance do not count. Within the region only what is as
    it was counts as left alone.
    """
    difference, loss = _mean_levels(edited, rebuilt, cell), _mean_levels(clip, rebuilt, cell) + LEAST
    share = loss.square() / (loss.square() + (counts * difference).square())
    return share if region is None else torch.where(torch.from_numpy(region), 1 - counts, share)


REACH = 2
"""Radius, in latent cells, of the square in which colours are fitted."""


def detailed(
    edited: np.ndarray,
    rebuilt: np.ndarray,
    clip: np.ndarray,
    cell: int,
    region: np.ndarray | None = None,
    *,
    everywhere: bool = False,
    new_shapes: bool = False,
) -> tuple[np.ndarray, torch.Tensor]:
    """The edited frames, steadied, and what becomes of lost detail: (F, 3, 3, h, w). As `left_alone` and `acted`.

    Around every pixel the edit is fitted by a linear function of the clip's round trip, as in the guided filter (He et
    al. 2010, ECCV, section 3.4). Where colours changed and shapes did not, it explains nearly all of the edit's
    variance; where another thing was drawn, next to nothing. Where the edit left the clip alone, lost detail comes back
    as it is. Elsewhere it comes through the matrices of that function, by the part it explains, but not at all under
    `new_shapes`, since the outlines of what was there would show. And what a nearly certain fit leaves unexplained is
    the model's blur and noise: it goes, as do faint differences and halos.
    """
    trip, frames, own = _channels_first(rebuilt), _channels_first(edited), torch.eye(3).view(1, 3, 3, 1, 1)
    counts = acted(edited, rebuilt, cell, everywhere=everywhere, new_shapes=new_shapes)
    frames = trip + counts[:, None] * (frames - trip)
    share = left_alone(edited, rebuilt, clip, cell, counts, region)[:, None]
    matrices, offset, explained, variance = _color_fit(frames, trip, REACH * cell)
    part = explained_share(explained, variance)[:, None]
    gives_way = (1 - share) * part**CERTAINTY
    steadied = frames + gives_way * (_through(matrices, trip) + offset - frames)
    change = share[:, None] * own
    if not new_shapes:
        change = change + ((1 - share) * part)[:, None] * matrices
    return steadied.permute(0, 2, 3, 1).round().clamp(0, 255).byte().numpy(), change


def _color_fit(
    edited: torch.Tensor, rebuilt: torch.Tensor, radius: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """`color_fit` of `edited` (F, C, h, w) by colours `rebuilt` (F, 3, h, w), frame by frame.

    Returns matrices (F, C, 3, h, w), offset (F, C, h, w), how much of the variance the fit explains, and the whole of
    it, both (F, h, w).
    """
    pairs = zip(*(x.permute(0, 2, 3, 1).numpy() for x in (edited, rebuilt)), strict=True)
    fits = zip(*(color_fit(*pair, radius) for pair in pairs), strict=True)
    matrices, offset, explained, variance = (torch.from_numpy(np.stack(part)) for part in fits)
    return matrices.permute(0, 3, 4, 1, 2), offset.permute(0, 3, 1, 2), explained, variance


def _through(matrices: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
    """Matrices (F, C, 3, h, w) times colours (F, 3, h, w)."""
    return (matrices * colors[:, None]).sum(2)


def with_detail(edited: np.ndarray, rebuilt: np.ndarray, clip: np.ndarray, change: torch.Tensor) -> np.ndarray:
    """The edited frames and what the round trip lost of the `clip`, all uint8 (F, H, W, 3), as `detailed` has it.

    `change` (F, 3, 3, h, w) may be of another size.
    """
    finished = np.empty_like(edited)
    for out, edit, trip, own, matrix in zip(finished, edited, rebuilt, clip, change, strict=True):
        loss = torch.from_numpy(own.astype(np.float32) - trip).permute(2, 0, 1)
        for channel, row in enumerate(matrix):
            weights = F.interpolate(row[None], loss.shape[-2:], mode="bilinear")[0]
            out[..., channel] = (edit[..., channel] + (weights * loss).sum(0).numpy()).round().clip(0, 255)
    return finished


def _mean_levels(one: np.ndarray, other: np.ndarray, cell: int) -> torch.Tensor:
    """Mean absolute difference (F, h, w) of two clips over the neighbourhood of a cell, in levels of 255."""
    levels = np.abs(one.astype(np.int16) - other).mean(-1, dtype=np.float32)
    return _around(torch.from_numpy(levels)[:, None], cell // 2)[:, 0]


def _around(values: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean of (N, C, h, w) over the square of that radius around every pixel, or what of it is in the picture.

    By running sums, whose cost does not depend on the radius; in float64, so that their differences are exact enough.
    """
    side = 2 * radius + 1
    for _ in range(2):
        values = values.transpose(-1, -2)
        weights = torch.ones(values.shape[-1])
        sums = [F.pad(x, (radius + 1, radius)).double().cumsum(-1) for x in (values, weights)]
        within, number = (x[..., side:] - x[..., :-side] for x in sums)
        values = (within / number).float()
    return values


def _channels_first(frames: np.ndarray) -> torch.Tensor:
    """uint8 (F, h, w, 3) -> float32 (F, 3, h, w), in levels of 255."""
    return torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2)
