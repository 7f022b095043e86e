"""One configuration on the tasks of one clip: edited frames and what they cost, by the method or by a yardstick.

The method runs through `editor.pipeline.edit_frames`: frames come from the world, and the edited frames are judged
before anything is written. The yardsticks say what nothing, the VAE alone and plain noising give.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from editor.diffusion.latents import decode_latents, encode_frames, plan_fit
from editor.diffusion.models import Models
from editor.evaluation.configurations import Configuration
from editor.evaluation.tasks import Task, draw
from editor.events import ignore
from editor.media import Clip
from editor.method.attention import attached, processors_for
from editor.method.branches import guidance_at, planned_evaluations
from editor.method.denoiser import Denoiser, OnStep, unheard
from editor.method.schedule import Schedule
from editor.motion import Keyframes
from editor.pipeline import edit_frames
from editor.request import EditRequest, window_steps
from editor.stages.cache import InversionCache
from editor.stages.footage import Footage
from editor.stages.session import Session, target_notes
from editor.stages.source import Source
from editor.stages.targets import Edited, finished_frames

FPS = 8.0
CHUNK = 4
"""Frames that the VAE takes at a time."""


@dataclass(frozen=True)
class Attempt:
    """The outcome of one task: `frames` uint8 (F, H, W, 3).

    `stage_unet_evaluations`: per frame, as an edit with this one target alone needs them. `trace`: per step the root
    mean square distance of the guessed clean latents to the right answer's. `reconstruction_psnr`: in dB, of the clip
    itself at these settings. `seconds`: this task's share of the run.
    """

    task: Task
    frames: np.ndarray
    stage_unet_evaluations: dict[str, float] = field(default_factory=dict)
    trace: tuple[float, ...] = ()
    reconstruction_psnr: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def attempt(
    configuration: Configuration, tasks: Sequence[Task], models: Models, cache: InversionCache | None = None
) -> list[Attempt]:
    """Edit `tasks`, which share one clip, together. Inversions are kept in `cache` for other configurations."""
    began, size = time.monotonic(), models.native_size
    drawn = [draw(task, configuration.frames, size) for task in tasks]
    if configuration.how == "edit":
        attempts = _edited(configuration, tasks, models, cache)
    elif configuration.how == "sdedit":
        request = configuration.request(tasks, models.name)
        edits, evaluations = sdedit(drawn[0].source, request, configuration.noise, models)
        attempts = [Attempt(task, edit, {"edit": evaluations}) for task, edit in zip(tasks, edits, strict=True)]
    elif configuration.how == "truth":
        attempts = [Attempt(task, round_trip(d.truth, models)) for task, d in zip(tasks, drawn, strict=True)]
    else:
        source = drawn[0].source
        frames = round_trip(source, models) if configuration.how == "vae" else source
        attempts = [Attempt(task, frames) for task in tasks]
    share = (time.monotonic() - began) / len(tasks)
    return [replace(made, seconds=share) for made in attempts]


def _edited(
    configuration: Configuration, tasks: Sequence[Task], models: Models, cache: InversionCache | None
) -> list[Attempt]:
    """What the method makes of the tasks."""
    request = configuration.request(tasks, models.name)
    session = Session.begin(request, models, ignore, cache, check=configuration.check_reconstruction, previews=False)
    drawn = [draw(task, configuration.frames, models.native_size) for task in tasks]
    footage = drawn_footage(drawn[0].source, models)
    truths = torch.stack([encode_frames(models.vae, d.truth, CHUNK, models.device) for d in drawn])
    traces: list[list[float]] = [[] for _ in tasks]

    def listen(done: int, steps: int, guess: torch.Tensor | None) -> None:
        if guess is not None and len(guess) == len(truths):
            for trace, distance in zip(traces, (guess - truths).square().mean(dim=(1, 2, 3, 4)).sqrt(), strict=True):
                trace.append(float(distance))

    edited = edited_drawn(session, footage, listen)
    costs = _costs(session, edited.source, edited.sampled.unet_evaluations)
    return [
        Attempt(
            task,
            np.stack([frame for _, frame in finished_frames(session, footage, edited, i)]),
            costs[i],
            tuple(traces[i]),
            edited.reconstruction_psnr,
            notes=target_notes(session, i, edited.sampled),
        )
        for i, task in enumerate(tasks)
    ]


def edited_drawn(session: Session, footage: Footage, listen: OnStep = unheard) -> Edited:
    """Drawn frames edited as those of a file are, with a folder for the noise levels. `listen` hears of every step."""
    with TemporaryDirectory() as scratch:
        return edit_frames(replace(session, scratch=Path(scratch)), footage, listen)


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


def drawn_footage(frames: np.ndarray, models: Models) -> Footage:
    """Drawn frames of the model's own size, as the stages of an edit want them."""
    count, height, width, _ = frames.shape
    clip = Clip(Keyframes.every(count), FPS, 0, count / FPS, (width, height), drawn=frames)
    fit = plan_fit(width, height, models.native_size, models.multiple)
    if fit.padded != (width, height):
        raise ValueError(f"tasks are drawn at {width} x {height}, which the model would change to {fit.padded}")
    return Footage(clip, hashlib.sha256(frames.tobytes()).hexdigest(), fit, frames, (), models.vae_factor)


def round_trip(frames: np.ndarray, models: Models) -> np.ndarray:
    """`frames` uint8 (F, H, W, 3), encoded and decoded."""
    return decode_latents(models.vae, encode_frames(models.vae, frames, CHUNK, models.device), CHUNK)


@torch.no_grad()
def sdedit(
    frames: np.ndarray, request: EditRequest, noised: float, models: Models, seed: int = 0
) -> tuple[list[np.ndarray], float]:
    """SDEdit (Meng et al., arXiv 2108.01073): noise the clip, then denoise it with each target prompt.

    Starts after the part `1 - noised` of the steps, from sqrt(a) z0 + sqrt(1-a) noise with noise of its own for
    every frame, drawn on the CPU from `seed`. Frames do not see each other. Differs from the paper: deterministic
    steps and classifier-free guidance against the empty prompt, as in Stable Diffusion's image-to-image.
    Returns uint8 (F, H, W, 3) per target and the UNet evaluations per frame of one target.
    """
    schedule = Schedule.from_scheduler(models.scheduler, request.steps)
    steps = window_steps((1 - noised, 1.0), request.steps)
    clean = encode_frames(models.vae, frames, CHUNK, models.device)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean)
    a = schedule.alpha_bars[steps.start]
    noisy = a**0.5 * clean + (1 - a) ** 0.5 * noise
    texts = models.embed(["", *request.targets])
    denoiser = Denoiser(models.unet, schedule)
    edits = []
    with attached(models.unet, processors_for(models.unet, models.kernel)):
        for text in texts[1:]:
            edits.append(_denoised(denoiser, noisy, torch.stack([texts[0], text]), request, steps))
    frames_out = [decode_latents(models.vae, latents, CHUNK) for latents in edits]
    return frames_out, denoiser.evaluations(len(frames)) / len(edits)


def _denoised(
    denoiser: Denoiser, latents: torch.Tensor, texts: torch.Tensor, request: EditRequest, steps: Sequence[int]
) -> torch.Tensor:
    """Latents (F, C, h, w) taken through `steps`, guided from `texts[0]` towards `texts[1]`."""
    for step in steps:
        empty, text = denoiser.eps(step, torch.stack([latents, latents]), texts)
        latents = denoiser.schedule.step(step, latents, empty + guidance_at(request, step) * (text - empty))
    return latents
