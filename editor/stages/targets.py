"""From the inverted clip to the frames of every result: all targets in one batch, with previews on the way."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from editor.diffusion.latents import decode_latents, unpad_frames
from editor.events import Preview, Stage
from editor.media import psnr
from editor.method.branches import has_spatial_loss
from editor.method.denoiser import OnStep, unheard
from editor.method.plan import ControlPlan, plan_control
from editor.method.sampling import Sampled, sample_edit
from editor.method.spatial import SpatialLoss, detailed, with_detail
from editor.method.windows import plan_windows
from editor.stages.footage import Footage
from editor.stages.meter import Chunks
from editor.stages.region import in_cells
from editor.stages.session import Session, reconstruction_request
from editor.stages.source import Source

PREVIEW_SECONDS = 1.0  # a preview is a file that travels: at most about one a second,
PREVIEW_FRAMES = 16  # of so many frames at most, spread over the clip,
PREVIEW_SHARE = 0.2  # and at most this share of the time, however slow the VAE is


@dataclass(frozen=True)
class Edited:
    """What keyframes became: `frames[i]`, uint8 (K, h, w, 3) as the model sees them, answer target i; None: withheld.

    `finished_frames` brings them to the clip's own size. `source` and `sampled` say how they were made;
    `reconstruction_psnr`, if asked for, is how well the clip itself is rebuilt, in dB.
    """

    frames: tuple[np.ndarray | None, ...]
    source: Source
    sampled: Sampled
    reconstruction_psnr: float | None


def sample_targets(session: Session, footage: Footage, source: Source, listen: OnStep = unheard) -> Sampled:
    """Edit towards every target; where memory ran out, one target after the other. `listen` hears of every step."""

    def run(chunks: Chunks) -> Sampled:
        targets = range(len(session.plans))
        size = chunks.targets or len(targets)
        return joined(
            [_sample(session, footage, source, chunks, targets[i : i + size], listen) for i in targets[::size]]
        )

    with session.meter.stage(Stage.EDIT, session.request.steps, part=(0, 1 + session.check)):
        sampled = session.memory.within("targets", len(session.plans), run)
        session.meter.count(Stage.EDIT, sampled.unet_evaluations)
    return sampled


def reconstruction_psnr(session: Session, footage: Footage, source: Source) -> float:
    """PSNR in dB of the target row with target = source at the request's settings, blend and loss off, to the clip."""
    request = reconstruction_request(session.request)
    plan = plan_control(request.source, request.source, request, session.models.tokenizer)
    text = replace(session.conditioning, targets=session.conditioning.source)
    alone = replace(session, request=request, plans=(plan,), conditioning=text, previews=False)

    with session.meter.stage(Stage.EDIT, request.steps, "checking the reconstruction", part=(1, 2)):
        sampled = session.memory.within("targets", 1, lambda c: _sample(alone, footage, source, c, range(1)))
        rebuilt = decoded(session, sampled.latents[0])
        return psnr(unpad_frames(rebuilt, footage.fit), footage.visible)


def decoded(session: Session, latents: torch.Tensor) -> np.ndarray:
    """Frames of `latents` (F, C, h, w), in pieces that fit into memory."""
    side = max(latents.shape[-2:]) * session.models.vae_factor
    vae = session.models.vae
    return session.memory.within("vae", side, lambda c: decode_latents(vae, latents, c.vae, c.tile))


def finished_frames(
    session: Session, footage: Footage, edited: Edited, index: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The clip's keyframes and those of target `index`, at the clip's own size, uint8 (H, W, 3), pair by pair.

    Where it was asked for, edited ones have the clip's own detail, as far as its shapes are still there, and lose
    halos and what is too faint for an edit.
    """
    mask = edited.sampled.masks[index]
    region = None if mask is None or not session.request.keep_detail else mask.cpu().numpy()
    plan = session.plans[index]
    for place, own in enumerate(footage.clip.key_frames()):
        this = slice(place, place + 1)
        frame = edited.frames[index][this]
        if session.request.keep_detail:
            frame = _detailed(footage, frame, edited.source.rebuilt[this], own, this, region, plan)
        else:
            frame = footage.restored(frame)
        yield own, frame[0]


def _detailed(
    footage: Footage,
    frame: np.ndarray,
    rebuilt: np.ndarray,
    own: np.ndarray,
    this: slice,
    region: np.ndarray | None,
    plan: ControlPlan,
) -> np.ndarray:
    """One edited `frame` (1, h, w, 3) at the clip's size with what the VAE lost of the clip's `own`.

    `region`: where the edit could act in all keyframes, by latent cells (F, h, w).
    """
    fit, cell = footage.fit, footage.cell
    acted = None if region is None else unpad_frames(region[this].repeat(cell, 1).repeat(cell, 2), fit)
    small, trip = unpad_frames(frame, fit), unpad_frames(rebuilt, fit)
    small, change = detailed(
        small,
        trip,
        footage.visible[this],
        cell,
        acted,
        everywhere=plan.is_look,
        new_shapes=plan.brings_shape,
    )
    return with_detail(footage.restored(small), footage.restored(rebuilt), own[None], change)


def joined(parts: list[Sampled]) -> Sampled:
    """The outcomes of runs that share one source as if they had been one."""
    return replace(
        parts[0],
        latents=torch.cat([p.latents for p in parts]),
        masks=tuple(mask for p in parts for mask in p.masks),
        notes=tuple(notes for p in parts for notes in p.notes),
        word_maps=tuple(found for p in parts for found in p.word_maps),
        unet_evaluations=sum(p.unet_evaluations for p in parts),
        vae_evaluations=sum(p.vae_evaluations for p in parts),
    )


def _sample(
    session: Session, footage: Footage, source: Source, chunks: Chunks, targets: range, listen: OnStep = unheard
) -> Sampled:
    """Edit towards some of the targets, in one batch."""
    models, request, text = session.models, session.request, session.conditioning
    watcher = _Watcher(session, footage, chunks, targets.start, listen)
    return sample_edit(
        models.unet,
        session.schedule,
        source.trajectory,
        session.plans[targets.start : targets.stop],
        replace(text, targets=text.targets[targets.start : targets.stop]),
        request,
        kernel=models.kernel,
        null_text=source.null_text,
        spatial=_spatial_loss(session, footage, chunks) if has_spatial_loss(request) else None,
        windows=plan_windows(footage.clip.keyframes.shots, chunks.window or len(footage.frames)),
        region=_region(footage, models.device),
        on_step=watcher,
        on_frames=watcher.within,
    )


def _region(footage: Footage, device: torch.device) -> torch.Tensor | None:
    """Where a person allowed the edit, bool (F, h, w) of the latents; None: anywhere."""
    if footage.region is None:
        return None
    width, height = (side // footage.cell for side in footage.fit.padded)
    return torch.from_numpy(in_cells(footage.region, footage.fit, (height, width))).to(device)


def _spatial_loss(session: Session, footage: Footage, chunks: Chunks) -> SpatialLoss:
    """The loss against the clip's frames, which come to the device as they are needed."""
    pixels = torch.from_numpy(footage.frames).permute(0, 3, 1, 2)
    request = session.request
    weights = request.spatial_pixel_weight, request.spatial_gradient_weight
    return SpatialLoss(session.models.vae, pixels, *weights, chunk=min(2, chunks.vae))


@dataclass
class _Watcher:
    """Reports every step, and now and then a preview of the guessed clean frames."""

    session: Session
    footage: Footage
    chunks: Chunks
    first: int
    listen: OnStep = unheard
    next_preview: float = 0.0

    def __call__(self, done: int, steps: int, guess: torch.Tensor | None) -> None:
        """`guess` (targets, F, C, h, w) are the clean latents as the step sees them."""
        meter = self.session.meter
        rounds = len(self.session.plans) if self.chunks.targets else 1  # one after the other, or all at once
        meter.step(self.first * steps + done, rounds * steps, self._through(len(self.footage.frames)))
        self.listen(done, steps, guess)
        wanted = self.session.previews and self.chunks.previews and guess is not None and done < steps
        if not wanted or time.monotonic() < self.next_preview:
            return
        began = time.monotonic()
        with meter.aside("preview"):
            for offset, latents in enumerate(guess):
                self._preview(self.first + offset, done, steps, latents)
        spent = time.monotonic() - began
        self.next_preview = time.monotonic() + max(PREVIEW_SECONDS, spent * (1 / PREVIEW_SHARE - 1))

    def within(self, done: int, through: int) -> None:
        """An `OnFrames`: report the keyframes that are through in a step."""
        steps, frames = self.session.request.steps, len(self.footage.frames)
        rounds = len(self.session.plans) if self.chunks.targets else 1
        message = self._through(through)
        self.session.meter.step(self.first * steps + done, rounds * steps, message, part=through / frames)

    def _through(self, frames: int) -> str:
        """What is said where the keyframes pass in windows."""
        all_at_once = (self.chunks.window or frames) >= len(self.footage.frames)
        return "" if all_at_once else self.footage.reached(frames)

    def _preview(self, target: int, step: int, steps: int, latents: torch.Tensor) -> None:
        stride = -(-len(latents) // PREVIEW_FRAMES)
        frames = decode_latents(self.session.models.vae, latents[::stride], self.chunks.vae, self.chunks.tile)
        shown = unpad_frames(frames, self.footage.fit)
        self.session.meter.emit(Preview(target, step, steps, self.footage.visible[::stride], shown, stride))
