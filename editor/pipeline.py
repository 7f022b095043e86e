"""The journey of a clip, from a file and two sentences to finished videos. Read this file first.

clip -> keyframes -> latents -> every noise level (inversion) -> edited latents -> keyframes -> all frames -> files
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from editor.diffusion.latents import unpad_frames
from editor.diffusion.models import Models
from editor.diffusion.safety import Withheld
from editor.events import EditResult, Emit, Stage, ignore
from editor.media import Limits
from editor.method.denoiser import OnStep, unheard
from editor.method.sampling import Sampled
from editor.request import EditRequest
from editor.stages.cache import InversionCache
from editor.stages.footage import Footage, read_footage
from editor.stages.quality import ClipScore
from editor.stages.results import workplace, write_results
from editor.stages.session import WRITING, Session
from editor.stages.source import Source, find_source
from editor.stages.targets import Edited, decoded, reconstruction_psnr, sample_targets


def edit(
    clip: Path,
    request: EditRequest,
    models: Models,
    out: Path,
    emit: Emit = ignore,
    cache: InversionCache | None = None,
    *,
    normalised: bool = False,
    limits: Limits | None = None,
    check: bool = False,
    previews: bool = True,
    score: ClipScore | None = None,
) -> tuple[EditResult, ...]:
    """Edit the video file `clip` as `request` says; one result per target prompt, in `out/0`, `out/1` and so on.

    `emit` hears of progress and previews (unless `previews` is off) and may raise `Cancelled` to stop. With a `cache`
    a clip that was inverted before is not inverted again. `normalised` says that `clip` was written by
    `media.normalise`; otherwise that is done first, within `limits`. `check` also measures how well the clip itself is
    rebuilt, `score` how well the results match their sentences. A target that the safety checker withholds has no
    result. Nothing unfinished is left in `out`, whatever happens. Raises `EditError` with a sentence for a person.
    """
    session = Session.begin(request.validated(), models, emit, cache, check, previews)
    with workplace(out) as scratch:
        session = replace(session, scratch=scratch, score=score)
        with session.meter.stage(Stage.PREPARE):
            footage = read_footage(clip, request, models, scratch, limits, normalised)
        edited = edit_frames(session, footage)
        session.meter.expect(Stage.WRITE, WRITING * len(session.plans) * footage.clip.count / len(footage.frames))
        return write_results(session, footage, edited, scratch, out)


def edit_frames(session: Session, footage: Footage, listen: OnStep = unheard) -> Edited:
    """Edit the frames of `footage` towards every target of the session. `listen` hears of every denoising step.

    Frames in, frames out: nothing is written. Raises `EditError`, also where the safety checker withholds all.
    """
    session.share_memory(len(footage.frames), footage.fit.padded)
    with closing(find_source(session, footage)) as source:
        sampled = sample_targets(session, footage, source, listen)
        reconstruction = reconstruction_psnr(session, footage, source) if session.check else None
    return Edited(_shown(session, footage, source, sampled), source, sampled, reconstruction)


def _shown(session: Session, footage: Footage, source: Source, sampled: Sampled) -> tuple[np.ndarray | None, ...]:
    """The frames of every target, passed by the safety checker if there is one; None for a target that it withholds.

    Raises `EditError` where nothing is left.
    """
    shown, safety, refusals = [], session.models.safety, []
    for index, plan in enumerate(session.plans):
        with session.meter.stage(Stage.DECODE, part=(index, len(session.plans))):
            frames = decoded(session, sampled.latents[index])
            try:
                shown.append(frames if safety is None else _passed(session, footage, frames, plan.target))
            except Withheld as error:
                shown.append(None)
                refusals.append(error)
                session.withheld.append(f"“{plan.target}”: {error}")
    if len(refusals) == len(shown):
        raise refusals[0]
    return tuple(shown)


def _passed(session: Session, footage: Footage, frames: np.ndarray, target: str) -> np.ndarray:
    """The frames, uint8 (K, h, w, 3) as the model sees them, as the safety checker lets them pass."""
    seen = unpad_frames(frames, footage.fit)
    passed, said = session.models.safety.passed(seen)
    if said:
        session.notes.append(f"“{target}”: {said}")
        seen[:] = passed  # a view of the frames, without their margin
    return frames
