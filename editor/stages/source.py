"""The clip as the model sees it: its latents at every noise level, found or recalled from the cache."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from editor.diffusion.latents import decode_latents, encode_frames, unpad_frames
from editor.events import Stage
from editor.media import psnr
from editor.method.inversion import Trajectory, invert, noised
from editor.method.null_text import NullText, fit_null_text
from editor.stages.cache import Entry, LevelFile, content_key
from editor.stages.footage import Footage
from editor.stages.meter import Chunks
from editor.stages.session import Session

T = TypeVar("T")
NULL_TEXT_FIELDS = (
    "source",
    "guidance_scale",
    "guidance_stop",
    "null_text_inner_steps",
    "null_text_window",
    "as_published",
)


@dataclass(frozen=True)
class Source:
    """`rebuilt` is the clip after the VAE alone, uint8 (F, h, w, 3) with the mirrored margin, and `vae_psnr` how near
    that is to the clip, in dB; `cached` names what came from the cache.
    """

    trajectory: Trajectory
    null_text: NullText | None
    rebuilt: np.ndarray
    vae_psnr: float
    cached: tuple[str, ...]

    def close(self) -> None:
        """Let go of the file that the trajectory is in, if it is in one."""
        _close(self.trajectory)


def find_source(session: Session, footage: Footage) -> Source:
    """Encode and invert the clip and fit the null text, as far as the cache does not have them."""
    identity = _identity(session, footage)
    trajectory, rebuilt, known = _trajectory(session, footage, content_key(kind="trajectory", **identity))
    cached = ("inversion",) if known else ()
    try:
        null_text, recalled = _null_text(session, trajectory, identity)
    except BaseException:
        _close(trajectory)
        raise
    cached += ("null text",) if recalled else ()
    if cached:
        session.notes.append(f"{' and '.join(cached)} taken from the cache: this clip was inverted before")
    vae_psnr = psnr(unpad_frames(rebuilt, footage.fit), footage.visible)
    return Source(trajectory, null_text, rebuilt, vae_psnr, cached)


def _close(trajectory: Trajectory) -> None:
    if isinstance(trajectory.latents, LevelFile):
        trajectory.latents.close()


def _null_text(session: Session, trajectory: Trajectory, identity: dict[str, Any]) -> tuple[NullText | None, bool]:
    """The fitted empty text where it is asked for, and whether it came from the cache."""
    if session.request.inversion != "null_text":
        return None, False
    device = session.models.device
    options = {name: getattr(session.request, name) for name in NULL_TEXT_FIELDS}
    return _cached_or_computed(
        session,
        content_key(kind="null_text", **identity, **options),
        (Stage.NULL_TEXT,),
        compute=lambda: _fit(session, trajectory),
        pack=lambda fit: ({"embeddings": fit.embeddings}, {"errors": list(fit.errors)}),
        unpack=lambda e: NullText(e.tensors["embeddings"].to(device), tuple(e.values["errors"]), 0.0),
    )


def _trajectory(session: Session, footage: Footage, key: str) -> tuple[Trajectory, np.ndarray, bool]:
    """The clip's latents at every noise level, the clip after the VAE alone, and whether the cache had them.

    They are in a file that is read by the level, as far as the session has a place for one.
    """
    known = session.cache.levels(key, session.models.device) if session.cache else None
    if known is not None:
        session.meter.skip(Stage.ENCODE, Stage.INVERT)
        with session.meter.stage(Stage.INVERT, message="taken from the cache"):
            return Trajectory(known, 0.0), known.rebuilt, True
    latents, rebuilt = _encoded(session, footage)
    if session.scratch is None:
        return _inverted(session, footage, latents, None), rebuilt, False
    place = session.scratch / f"{key}.safetensors"
    levels = LevelFile.create(place, session.request.steps + 1, latents, rebuilt)
    try:
        trajectory = _inverted(session, footage, latents, levels)
    except BaseException:
        levels.close()
        raise
    trouble = session.cache.adopt(key, place) if session.cache else None
    session.notes.extend([trouble] if trouble else [])
    return trajectory, rebuilt, False


def _cached_or_computed(
    session: Session,
    key: str,
    stages: tuple[Stage, ...],
    compute: Callable[[], T],
    pack: Callable[[T], tuple[dict[str, torch.Tensor], dict[str, Any]]],
    unpack: Callable[[Entry], T],
) -> tuple[T, bool]:
    """What `compute` gives, or what the cache kept of it under `key`, and whether it was the cache.

    `stages` are those that are not needed then. A cache that cannot keep something is a note, not an error.
    """
    entry = session.cache.get(key) if session.cache else None
    if entry is not None:
        session.meter.skip(*stages)
        with session.meter.stage(stages[-1], message="taken from the cache"):
            return unpack(entry), True
    found = compute()
    trouble = session.cache.put(key, *pack(found)) if session.cache else None
    if trouble:
        session.notes.append(trouble)
    return found, False


def _identity(session: Session, footage: Footage) -> dict[str, Any]:
    """Everything that a trajectory depends on.

    The clip counts by the frames the model gets: its file may differ where the pictures do not, as in the sound.
    """
    request = session.request
    return {
        "frames": hashlib.sha256(np.ascontiguousarray(footage.frames)).hexdigest(),
        "size": [footage.fit.scaled, footage.fit.padded],
        "model": [session.models.revision, *session.models.additions],
        "clip_skip": request.clip_skip,
        "published": (session.memory.chunks.frames or 0) >= len(footage.frames) if request.as_published else None,
        "dtype": str(session.models.dtype),
        "steps": request.steps,
        "prompt": request.source if request.inversion_prompt == "source" else "",
        "noised": request.inversion == "virtual",
    }


def _encoded(session: Session, footage: Footage) -> tuple[torch.Tensor, np.ndarray]:
    """The clip's latents, and the frames that decoding them gives."""
    with session.meter.stage(Stage.ENCODE, message=footage.extent):
        through = partial(_through_vae, session, footage)
        return session.memory.within("vae", max(footage.fit.padded), through)


def _inverted(session: Session, footage: Footage, latents: torch.Tensor, levels: LevelFile | None) -> Trajectory:
    """The clip's latents at every noise level, in `levels` if there are any."""
    meter, models, text = session.meter, session.models, session.conditioning

    def said(chunks: Chunks, through: int) -> str:
        return "" if (chunks.frames or through) >= len(latents) else footage.reached(through)

    def run(chunks: Chunks) -> Trajectory:
        if session.request.inversion == "virtual":
            return noised(session.schedule, latents, levels)
        return invert(
            models.unet,
            session.schedule,
            latents,
            text.source if session.request.inversion_prompt == "source" else text.empty,
            kernel=models.kernel,
            chunk=chunks.frames,
            as_published=session.request.as_published,
            levels=levels,
            on_step=lambda done, steps, guess: meter.step(done, steps, said(chunks, len(latents))),
            on_frames=lambda done, n: meter.step(done, steps, said(chunks, n), part=n / len(latents)),
        )

    steps = session.request.steps
    with meter.stage(Stage.INVERT, steps):
        trajectory = session.memory.within("frames", len(latents), run)
        meter.count(Stage.INVERT, trajectory.unet_evaluations)
    return trajectory


def _through_vae(session: Session, footage: Footage, chunks: Chunks) -> tuple[torch.Tensor, np.ndarray]:
    """Latents of the clip, and the frames that decoding them gives."""
    vae = session.models.vae
    drawn = session.request.as_published
    latents = encode_frames(vae, footage.frames, chunks.vae, session.models.device, chunks.tile, drawn=drawn)
    return latents, decode_latents(vae, latents, chunks.vae, chunks.tile)


def _fit(session: Session, trajectory: Trajectory) -> NullText:
    """The empty embeddings with which the guided sampler returns to the clip."""
    meter, models, text = session.meter, session.models, session.conditioning

    def run(chunks: Chunks) -> NullText:
        return fit_null_text(
            models.unet,
            session.schedule,
            trajectory,
            text.source,
            text.empty,
            session.request,
            kernel=models.kernel,
            chunk=chunks.frames,
            on_step=lambda done, steps, guess: meter.step(done, steps),
        )

    with meter.stage(Stage.NULL_TEXT, session.request.steps):
        null_text = session.memory.within("frames", len(trajectory.noisiest), run)
        meter.count(Stage.NULL_TEXT, null_text.unet_evaluations)
    return null_text
