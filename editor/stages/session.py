"""What all stages of one edit share: the request, the models, the meter, the memory, and what there is to say."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from editor.diffusion.memory import free_on, row_bytes, window_size
from editor.diffusion.models import Models
from editor.diffusion.prompts import cut_note
from editor.events import Emit, Stage
from editor.method.branches import planned_evaluations, row_schedule
from editor.method.control import settled
from editor.method.plan import ControlPlan, plan_control
from editor.method.sampling import Conditioning, Sampled
from editor.method.schedule import Schedule
from editor.request import EditRequest
from editor.stages.cache import InversionCache
from editor.stages.meter import Memory, Meter
from editor.stages.quality import ClipScore

ENCODING = 4.5  # work in UNet evaluations per frame, only for the time left: the VAE there and back at SD 1.5's shape
DECODING = 3.2
WRITING = 1.0  # per frame of the result, carried and written twice


@dataclass(frozen=True)
class Session:
    """One edit under way; read only but for two lists of sentences for the manifest.

    `asked`: the request as it came; `request`: the same with its number of steps settled. `notes`: what there is to
    say. `withheld`: which targets the safety checker keeps back, and why. `score`: the CLIP model that judges results,
    if there is one. `scratch`: a folder for what is too large for memory; without one the clip's noise levels stay
    there and are not cached.
    """

    asked: EditRequest
    request: EditRequest
    models: Models
    plans: tuple[ControlPlan, ...]
    schedule: Schedule
    conditioning: Conditioning
    meter: Meter
    memory: Memory
    cache: InversionCache | None
    check: bool
    previews: bool
    notes: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    scratch: Path | None = None
    score: ClipScore | None = None

    @classmethod
    def begin(
        cls,
        request: EditRequest,
        models: Models,
        emit: Emit,
        cache: InversionCache | None,
        check: bool,
        previews: bool,
    ) -> "Session":
        """Read the prompts and plan the work. Raises `EditError` for prompts or steps that cannot be used."""
        asked, request = request, settled(request)
        plans = tuple(plan_control(request.source, t, request, models.tokenizer) for t in request.targets)
        prompts = [("source prompt", request.source), ("negative prompt", request.negative_prompt)]
        prompts += [("target prompt", target) for target in request.targets]
        cut = [cut_note(models.tokenizer, name, text) for name, text in prompts]
        return cls(
            asked=asked,
            request=request,
            models=models,
            plans=plans,
            schedule=Schedule.from_scheduler(models.scheduler, request.steps),
            conditioning=_embedded(request, models),
            meter=Meter(emit, _expected_work(request, plans, check)),
            memory=Memory(),
            cache=cache,
            check=check,
            previews=previews,
            notes=[*models.notes, *(note for note in cut if note)],
        )

    def share_memory(self, frames: int, size: tuple[int, int]) -> None:
        """Decide how many of `frames` keyframes of `size` pixels (width, height) pass the UNet at once, and say it."""
        request, models = self.request, self.models
        cells = size[0] * size[1] // models.vae_factor**2
        channels, cpu = models.unet.config.block_out_channels[0], models.device.type == "cpu"
        row = row_bytes(cells, channels, models.dtype.itemsize, cpu)
        most, free = max(step.count for step in row_schedule(request, self.plans)), free_on(models.device)
        alone = NULL_TEXT_ROWS if request.inversion == "null_text" else 1
        window, chunk = (min(frames, request.window or window_size(free, n, row, frames, cpu)) for n in (most, alone))
        self.memory.chunks = replace(self.memory.chunks, frames=chunk, window=window)
        if window < frames:
            said = f"the {frames} keyframes pass the network in windows of at most {window}"
            alike = "; the norms over the whole clip are taken per frame, then" if request.as_published else ""
            self.notes.append(said + alike)


NULL_TEXT_ROWS = 11
"""What a backward pass through the UNet takes, in rows: 0.74 GB per frame of Stable Diffusion 1.5 in half precision."""


def reconstruction_request(request: EditRequest) -> EditRequest:
    """The request that measures what the method loses: target = source at the same settings, blend and loss off."""
    return replace(
        request,
        targets=(request.source,),
        word_weights={},
        blend=False,
        spatial_pixel_weight=0.0,
        spatial_gradient_weight=0.0,
        word_maps=False,
    )


def target_notes(session: Session, index: int, sampled: Sampled) -> tuple[str, ...]:
    """What there is to say about one target's prompt."""
    plan, said = session.plans[index], ()
    if plan.same:
        said = ("the target prompt says the same as the source prompt: this only reconstructs the clip",)
    found = sampled.word_maps[index] if session.request.word_maps else None
    if found is not None and not found.target:
        said = (*said, "no word maps: this model has no text attention to take them from")
    elif found is not None and not found.source:
        said = (*said, "no maps of the source prompt's words: this edit never runs that prompt")
    return (*said, *([plan.control.note] if plan.control.note else []), *sampled.notes[index])


def _embedded(request: EditRequest, models: Models) -> Conditioning:
    """All prompts as the text encoder gives them."""
    negative = [request.negative_prompt] if request.negative_prompt else []
    prompts = [request.source, "", *negative, *request.targets]
    rows = models.embed(prompts, request.clip_skip)
    first = 2 + len(negative)
    return Conditioning(
        source=rows[:1], targets=rows[first:], empty=rows[1:2], negative=rows[2:3] if request.negative_prompt else None
    )


def _expected_work(request: EditRequest, plans: Sequence[ControlPlan], check: bool) -> dict[Stage, float]:
    """Work of each stage per frame, in UNet evaluations."""
    planned = planned_evaluations(request, plans)
    again = planned_evaluations(reconstruction_request(request), plans[:1])["edit"] + DECODING if check else 0.0
    return {
        Stage.ENCODE: ENCODING,
        Stage.INVERT: planned["invert"],
        Stage.NULL_TEXT: planned["null_text"],
        Stage.EDIT: planned["edit"] + again,
        Stage.DECODE: DECODING * len(plans),
        Stage.WRITE: WRITING * len(plans),
    }
