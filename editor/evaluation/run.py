"""One configuration on the tasks of one clip: edited frames, and what they cost.

The method runs through `editor.pipeline.edit_frames`: frames come from the world, and the edited frames are judged
before anything is written.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from editor.diffusion.latents import encode_frames, plan_fit
from editor.diffusion.models import Models
from editor.evaluation.baselines import CHUNK, round_trip, sdedit
from editor.evaluation.configurations import Configuration
from editor.evaluation.tasks import Task, draw
from editor.events import ignore
from editor.media import Clip
from editor.method.branches import planned_evaluations
from editor.pipeline import edit_frames
from editor.stages.cache import InversionCache
from editor.stages.footage import Footage
from editor.stages.session import Session, target_notes
from editor.stages.source import Source

FPS = 8.0


@dataclass(frozen=True)
class Outcome:
    """The answer to one task: `frames` uint8 (F, H, W, 3).

    `evaluations` are UNet evaluations per frame of each stage, as an edit with this one target alone needs them.
    `trace`: per step the root mean square distance of the guessed clean latents to the right answer's. `rebuilt`: PSNR
    in dB of the clip itself at these settings. `seconds`: this task's share of the run.
    """

    task: Task
    frames: np.ndarray
    evaluations: dict[str, float] = field(default_factory=dict)
    trace: tuple[float, ...] = ()
    rebuilt: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def run(
    configuration: Configuration, tasks: Sequence[Task], models: Models, cache: InversionCache | None = None
) -> list[Outcome]:
    """Answer `tasks`, which share one clip, together. Inversions are kept in `cache` for other configurations."""
    began, size = time.monotonic(), models.native_size
    drawn = [draw(task, configuration.frames, size) for task in tasks]
    if configuration.how == "edit":
        outcomes = _edited(configuration, tasks, models, cache)
    elif configuration.how == "sdedit":
        request = configuration.request(tasks, models.name)
        edits, evaluations = sdedit(drawn[0].source, request, configuration.strength, models)
        outcomes = [Outcome(task, edit, {"edit": evaluations}) for task, edit in zip(tasks, edits, strict=True)]
    elif configuration.how == "truth":
        outcomes = [Outcome(task, round_trip(d.truth, models)) for task, d in zip(tasks, drawn, strict=True)]
    else:
        source = drawn[0].source
        answer = round_trip(source, models) if configuration.how == "vae" else source
        outcomes = [Outcome(task, answer) for task in tasks]
    share = (time.monotonic() - began) / len(tasks)
    return [Outcome(**{**vars(outcome), "seconds": share}) for outcome in outcomes]


def _edited(
    configuration: Configuration, tasks: Sequence[Task], models: Models, cache: InversionCache | None
) -> list[Outcome]:
    """The method's answers."""
    request = configuration.request(tasks, models.name)
    session = Session.begin(request, models, ignore, cache, check=configuration.rebuild, previews=False)
    drawn = [draw(task, configuration.frames, models.native_size) for task in tasks]
    footage = _footage(drawn[0].source, models)
    truths = torch.stack([encode_frames(models.vae, d.truth, CHUNK, models.device) for d in drawn])
    traces: list[list[float]] = [[] for _ in tasks]

    def listen(done: int, steps: int, guess: torch.Tensor | None) -> None:
        if guess is not None and len(guess) == len(truths):
            for trace, distance in zip(traces, (guess - truths).square().mean(dim=(1, 2, 3, 4)).sqrt(), strict=True):
                trace.append(float(distance))

    edited = edit_frames(session, footage, listen)
    costs = _costs(session, edited.source, edited.sampled.unet_evaluations)
    return [
        Outcome(
            task,
            edited.frames[i],
            costs[i],
            tuple(traces[i]),
            edited.reconstruction_psnr,
            notes=target_notes(session, i, edited.sampled),
        )
        for i, task in enumerate(tasks)
    ]


def _costs(session: Session, source: Source, counted: float) -> list[dict[str, float]]:
    """UNet evaluations per frame of each task, as if it had been edited alone.

    The plan is trusted because it must agree with what was `counted` for all tasks together; where the null text comes
    from the cache its plan stands for it, an upper bound that is reached where a step has one inner step.
    """
    request, plans = session.request, session.plans
    together = planned_evaluations(request, plans)["edit"]
    if abs(together - counted) > 0.01:
        raise RuntimeError(f"{counted} UNet evaluations per frame were counted and {together} planned")
    costs = []
    for plan in plans:
        cost = planned_evaluations(request, (plan,))
        if source.null_text is not None and source.null_text.unet_evaluations:
            cost["null_text"] = source.null_text.unet_evaluations
        costs.append(cost)
    return costs


def _footage(frames: np.ndarray, models: Models) -> Footage:
    """Drawn frames of the model's own size, as the stages of an edit want them."""
    count, height, width, _ = frames.shape
    seconds = count / FPS
    clip = Clip(frames, FPS, 0.0, seconds, seconds, FPS, seconds, (width, height), None, ())
    fit = plan_fit(width, height, models.native_size, models.multiple)
    if fit.padded != (width, height):
        raise ValueError(f"tasks are drawn at {width} x {height}, which the model would change to {fit.padded}")
    return Footage(clip, hashlib.sha256(frames.tobytes()).hexdigest(), fit, frames, ())
