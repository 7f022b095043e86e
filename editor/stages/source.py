"""The clip as the model sees it: its latents at every noise level, found or recalled from the cache."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from editor.diffusion.latents import decode_latents, encode_frames, psnr, unpad_frames
from editor.events import Stage
from editor.method.inversion import Trajectory, invert
from editor.method.null_text import NullText, fit_null_text
from editor.stages.cache import content_key
from editor.stages.footage import Footage
from editor.stages.memory import Chunks
from editor.stages.session import Session

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


def find_source(session: Session, footage: Footage) -> Source:
    """Encode and invert the clip and fit the null text, as far as the cache does not have them."""
    identity = _identity(session, footage)
    trajectory, rebuilt, known = _trajectory(session, footage, content_key(kind="trajectory", **identity))
    cached = ("inversion",) if known else ()
    null_text = None
    if session.request.inversion == "null_text":
        settings = {name: getattr(session.request, name) for name in NULL_TEXT_FIELDS}
        null_text, known = _null_text(session, trajectory, content_key(kind="null_text", **identity, **settings))
        cached += ("null text",) if known else ()
    if cached:
        session.notes.append(f"{' and '.join(cached)} taken from the cache: this clip was inverted before")
    vae_psnr = psnr(unpad_frames(rebuilt, footage.fit), footage.visible)
    return Source(trajectory, null_text, rebuilt, vae_psnr, cached)


def _identity(session: Session, footage: Footage) -> dict[str, Any]:
    """Everything that a trajectory depends on.

    The clip counts by the frames the model gets: its file may differ where the pictures do not, as in the sound.
    """
    request = session.request
    return {
        "frames": hashlib.sha256(footage.frames.tobytes()).hexdigest(),
        "size": [footage.fit.scaled, footage.fit.padded],
        "model": session.models.revision,
        "dtype": str(session.models.dtype),
        "steps": request.steps,
        "prompt": request.source if request.inversion_prompt == "source" else "",
    }


def _trajectory(session: Session, footage: Footage, key: str) -> tuple[Trajectory, np.ndarray, bool]:
    """The trajectory, the clip after the VAE, and whether they were in the cache."""
    meter, models = session.meter, session.models
    entry = session.cache.get(key) if session.cache else None
    if entry is not None:
        meter.skip(Stage.ENCODE, Stage.INVERT)
        with meter.stage(Stage.INVERT, message="taken from the cache"):
            return Trajectory(entry.tensors["latents"].to(models.device), 0.0), entry.tensors["rebuilt"].numpy(), True
    with meter.stage(Stage.ENCODE, message=f"{len(footage.frames)} frames"):
        latents, rebuilt = session.memory.within(lambda chunks: _through_vae(session, footage, chunks))
    embeddings = session.conditioning
    embedding = embeddings.source if session.request.inversion_prompt == "source" else embeddings.empty

    def run(chunks: Chunks) -> Trajectory:
        return invert(
            models.unet,
            session.schedule,
            latents,
            embedding,
            kernel=models.kernel,
            chunk=chunks.frames,
            on_step=lambda done, steps, guess: meter.step(done, steps),
        )

    with meter.stage(Stage.INVERT, session.request.steps):
        trajectory = session.memory.within(run)
        meter.count(Stage.INVERT, trajectory.unet_evaluations)
    _keep(session, key, {"latents": trajectory.latents, "rebuilt": torch.from_numpy(rebuilt)}, {})
    return trajectory, rebuilt, False


def _through_vae(session: Session, footage: Footage, chunks: Chunks) -> tuple[torch.Tensor, np.ndarray]:
    """Latents of the clip, and the frames that decoding them gives."""
    vae = session.models.vae
    latents = encode_frames(vae, footage.frames, chunks.vae, session.models.device)
    return latents, decode_latents(vae, latents, chunks.vae)


def _null_text(session: Session, trajectory: Trajectory, key: str) -> tuple[NullText, bool]:
    """The fitted empty embeddings, and whether they were in the cache."""
    meter, models, text = session.meter, session.models, session.conditioning
    entry = session.cache.get(key) if session.cache else None
    if entry is not None:
        meter.skip(Stage.NULL_TEXT)
        embeddings = entry.tensors["embeddings"].to(models.device)
        return NullText(embeddings, tuple(entry.values["errors"]), 0.0), True

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
        null_text = session.memory.within(run)
        meter.count(Stage.NULL_TEXT, null_text.unet_evaluations)
    _keep(session, key, {"embeddings": null_text.embeddings}, {"errors": list(null_text.errors)})
    return null_text, False


def _keep(session: Session, key: str, tensors: dict[str, Any], values: dict[str, Any]) -> None:
    """Store for the next edit of this clip; a cache that cannot is a note, not an error."""
    trouble = session.cache.put(key, tensors, values) if session.cache else None
    if trouble:
        session.notes.append(trouble)
