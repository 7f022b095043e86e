"""The clip of an edit, at its own size and at the model's, and the way back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from editor.diffusion.latents import Fit, fit_frames, plan_fit, unfit_frames, unpad_frames
from editor.diffusion.models import Models
from editor.events import EditError
from editor.media import AudioSpan, Clip, Limits, normalise, read_clip
from editor.request import EditRequest
from editor.stages.cache import file_digest
from editor.stages.region import painted


@dataclass(frozen=True)
class Footage:
    """`frames` uint8 (K, h, w, 3) are the clip's keyframes at the model's size; `digest` is the SHA-256 of its file.

    `cell`: pixels per latent cell along one axis. `region`: where a person allowed the edit on each keyframe, bool
    (K, h, w) at another size; None: anywhere.
    """

    clip: Clip
    digest: str
    fit: Fit
    frames: np.ndarray
    notes: tuple[str, ...]
    cell: int
    region: np.ndarray | None = None

    @property
    def audio(self) -> AudioSpan | None:
        """The sound of the edited interval, if the clip has any."""
        clip = self.clip
        return AudioSpan(clip.audio, clip.start, clip.duration) if clip.audio else None

    @property
    def visible(self) -> np.ndarray:
        """The frames at the model's size without the mirrored margin."""
        return unpad_frames(self.frames, self.fit)

    @property
    def extent(self) -> str:
        """How many frames the model gets, and how many follow them."""
        keyframes = len(self.frames)
        return f"{keyframes} keyframes{self._rest()}" if self._rest() else f"{keyframes} frames"

    def reached(self, keyframes: int) -> str:
        """How far the model has got in a step, and how many frames follow all of them."""
        return f"keyframe {keyframes} of {len(self.frames)}{self._rest()}"

    def _rest(self) -> str:
        others = self.clip.count - len(self.frames)
        return f", then {others} frames follow" if others else ""

    def restored(self, frames: np.ndarray) -> np.ndarray:
        """Frames at the model's size, brought back to the clip's own."""
        return unfit_frames(frames, self.fit)


def read_footage(
    path: Path, request: EditRequest, models: Models, scratch: Path, limits: Limits | None, normalised: bool
) -> Footage:
    """Normalise `path` into `scratch` (unless it is `normalised` already) and read the interval's keyframes.

    Raises `EditError` for files that are no usable video and intervals that cannot be edited.
    """
    if not path.is_file():
        raise EditError(f"There is no file '{path}'. Give the path of a video file.")
    digest, source, notes = file_digest(path), path, ()
    if not normalised:
        source = scratch / "clip.mp4"
        notes = normalise(path, source, limits).notes
    clip = read_clip(source, request.start, request.end, request.key_fps, request.max_frames)
    fit = plan_fit(*clip.source_size, models.native_size, models.multiple, request.size)
    frames = np.concatenate([fit_frames(frame[None], fit) for frame in clip.key_frames()])
    region = painted(clip, request)
    said = (*notes, *clip.notes, *_size_notes(fit), *_region_notes(request, region))
    return Footage(clip, digest, fit, frames, said, models.vae_factor, region)


def _region_notes(request: EditRequest, region: np.ndarray | None) -> tuple[str, ...]:
    """Says that the edit was kept to a painted region, and how much of the picture that is."""
    if region is None:
        return ()
    empty = int((~region.any(axis=(1, 2))).sum())
    lost = f"; it is not seen on {empty} of {len(region)} keyframes, which stay as they are" if empty else ""
    return (f"kept to the region painted at {request.region_at:g} s, {region.mean():.0%} of the picture{lost}",)


def _size_notes(fit: Fit) -> tuple[str, ...]:
    """Says at which size the model works, where it is not the clip's."""
    if fit.clip == fit.padded:
        return ()
    (width, height), (w, h) = fit.clip, fit.scaled
    margin = "" if fit.padded == fit.scaled else f", padded by mirroring to {fit.padded[0]} x {fit.padded[1]}"
    return (f"edited at {w} x {h} pixels{margin}, then scaled back to {width} x {height}",)
