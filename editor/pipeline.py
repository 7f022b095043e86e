"""The journey of a clip, from a file and two sentences to finished videos. Read this file first.

clip -> frames -> latents -> every noise level (inversion) -> edited latents -> frames -> files
"""

from pathlib import Path

from editor.diffusion.models import Models
from editor.events import EditResult, Emit, Stage, ignore
from editor.media import Limits
from editor.method.sampling import Sampled
from editor.request import EditRequest
from editor.stages.cache import InversionCache
from editor.stages.footage import Footage, read_footage
from editor.stages.results import manifest, workplace, write_result
from editor.stages.session import Session
from editor.stages.source import Source, find_source
from editor.stages.targets import finished_frames, reconstruction_psnr, sample_targets


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
) -> tuple[EditResult, ...]:
    """Edit the video file `clip` as `request` says; one result per target prompt, in `out/0`, `out/1` and so on.

    `emit` hears of progress and previews (unless `previews` is off) and may raise `Cancelled` to stop. With a `cache`
    a clip that was inverted before is not inverted again. `normalised` says that `clip` was written by
    `media.normalise`; otherwise that is done first, within `limits`. `check` also measures how well the clip itself is
    rebuilt. Nothing unfinished is left in `out`, whatever happens. Raises `EditError` with a sentence for a person.
    """
    session = Session.begin(request.validated(), models, emit, cache, check, previews)
    with workplace(out) as scratch:
        with session.meter.stage(Stage.PREPARE):
            footage = read_footage(clip, request, models, scratch, limits, normalised)
        source = find_source(session, footage)
        sampled = sample_targets(session, footage, source)
        reconstruction = reconstruction_psnr(session, footage, source) if check else None
        return tuple(
            _finish(session, footage, source, sampled, index, reconstruction, out, scratch)
            for index in range(len(request.targets))
        )


def _finish(
    session: Session,
    footage: Footage,
    source: Source,
    sampled: Sampled,
    index: int,
    reconstruction: float | None,
    out: Path,
    scratch: Path,
) -> EditResult:
    """Decode target `index` at the clip's own size, pass it by the safety checker if there is one, write its files."""
    meter, part = session.meter, (index, len(session.plans))
    with meter.stage(Stage.DECODE, part=part):
        frames = finished_frames(session, footage, source, sampled, index)
        if session.models.safety is not None:
            session.models.safety.refuse_flagged(frames)
    with meter.stage(Stage.WRITE, part=part):
        report = manifest(session, footage, source, sampled, index, reconstruction)
        return write_result(out / str(index), scratch, footage, frames, session.plans[index].target, report)
