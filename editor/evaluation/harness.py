"""Running configurations on tasks: what is left to do, in one process or several, with progress and the time left.

Every finished result is a file at once, so an interrupted run goes on where it stopped.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from editor.cache import InversionCache
from editor.console import clock, quiet_libraries
from editor.diffusion.models import Models, load_models
from editor.evaluation.clip_score import ClipScore
from editor.evaluation.configurations import Configuration
from editor.evaluation.metrics import identified, measure
from editor.evaluation.records import Record, Store, fingerprint
from editor.evaluation.run import Outcome, run
from editor.evaluation.tasks import Task, alternatives, by_clip, draw, rendered
from editor.method.branches import planned_evaluations
from editor.settings import Settings

CACHE_BYTES = 4 * 10**9
"""For the inversions of a run; one of 50 steps takes 4 MB at the built-in model's size."""

BESIDE = 20.0
"""What drawing, the VAE and the metrics take per task, in UNet evaluations per frame; only for the time left."""


@dataclass(frozen=True)
class Job:
    """Some tasks of one clip for one configuration."""

    configuration: Configuration
    tasks: tuple[Task, ...]

    @property
    def work(self) -> float:
        """About how much it is, in UNet evaluations of one frame; only for the time left."""
        edits = len(self.tasks) * BESIDE
        if self.configuration.how in ("edit", "sdedit"):
            request = self.configuration.request(self.tasks, "demo")
            edits += sum(
                planned_evaluations(request, [_Swap((0.0, request.replace_window))] * len(self.tasks)).values()
            )
        return edits * self.configuration.frames


@dataclass(frozen=True)
class _Swap:
    """Stands for the plan of any edit, before a tokenizer is loaded."""

    window: tuple[float, float]
    changed_source: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Plan:
    """What to run with: the model by name and its revision, where results go, and a CLIP folder for its scores."""

    model: str
    revision: str
    store: Store
    inversions: Path
    clip: Path | None = None

    def left(self, configurations: Iterable[Configuration], tasks: Sequence[Task], again: bool = False) -> list[Job]:
        """What has no result of the same fingerprint yet (`again`: everything), clip by clip."""
        jobs = []
        listed = tuple(configurations)
        for group in by_clip(tasks):
            for configuration in listed:
                within = set(tasks[: configuration.first])
                open_tasks = (t for t in group if t in within and (again or not self._done(configuration, t)))
                if chosen := tuple(open_tasks):
                    jobs.append(Job(configuration, chosen))
        return jobs

    def current(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Record]:
        """The results there are for the configuration's present settings, in the order of `tasks`."""
        records = (self.store.get(configuration.name, task.id) for task in tasks if self._done(configuration, task))
        return [record for record in records if record is not None]

    def _done(self, configuration: Configuration, task: Task) -> bool:
        record = self.store.get(configuration.name, task.id)
        return record is not None and record.fingerprint == fingerprint(configuration, task, self.revision)


class Worker:
    """A loaded model that does jobs and keeps their results."""

    def __init__(self, plan: Plan, models: Models) -> None:
        self.plan = plan
        self.models = models
        self.cache = InversionCache(plan.inversions, CACHE_BYTES)
        self.clip = ClipScore(plan.clip) if plan.clip else None

    @classmethod
    def load(cls, plan: Plan) -> Self:
        """Load the plan's model."""
        return cls(plan, load_models(plan.model, Settings.from_env()))

    def do(self, job: Job) -> None:
        """Run one job and keep a record per task."""
        for outcome in run(job.configuration, job.tasks, self.models, self.cache):
            self.plan.store.put(self._record(job.configuration, outcome), outcome.frames)

    def _record(self, configuration: Configuration, outcome: Outcome) -> Record:
        task, frames = outcome.task, outcome.frames
        size = self.models.native_size
        drawn = draw(task, len(frames), size)
        answers = {value: rendered(scene, len(frames), size)[0] for value, scene in alternatives(task).items()}
        named = identified(frames, answers)
        return Record(
            configuration=configuration.name,
            task=task.id,
            kind=task.kind,
            frames=len(frames),
            fingerprint=fingerprint(configuration, task, self.plan.revision),
            model=self.models.name if self.models.name == "demo" else "another",
            settings=configuration.settings(),
            metrics=measure(frames, drawn.truth, drawn.unchanged, drawn.changed),
            identified=named,
            right=named == str(getattr(task.target, task.kind)),
            evaluations=outcome.evaluations,
            rebuilt=outcome.rebuilt,
            trace=outcome.trace,
            seconds=outcome.seconds,
            notes=outcome.notes,
            extra=self.clip(frames, task.target_prompt) if self.clip else {},
        )


def execute(plan: Plan, jobs: Sequence[Job], workers: int, say: Callable[[str], None]) -> None:
    """Do the jobs, in `workers` processes. `say` hears of every finished job and of the time left."""
    if not jobs:
        return
    results, finished, work = sum(len(job.tasks) for job in jobs), 0, 0.0
    whole, began = sum(job.work for job in jobs), time.monotonic()
    for job in _done_in_turn(plan, jobs, min(workers, len(jobs))):
        finished, work = finished + len(job.tasks), work + job.work
        left = (time.monotonic() - began) / work * (whole - work)
        where = f"{job.configuration.name} on {job.tasks[0].clip}"
        say(f"{finished}/{results} results, {where}, {clock(left)} left")


def _done_in_turn(plan: Plan, jobs: Sequence[Job], workers: int) -> Iterator[Job]:
    """Every job when it is done."""
    if workers == 1:
        worker = Worker.load(plan)
        for job in jobs:
            worker.do(job)
            yield job
        return
    # a fresh interpreter each: PyTorch's threads do not survive a fork
    with multiprocessing.get_context("spawn").Pool(workers, _begin, (plan, workers)) as pool:
        yield from pool.imap_unordered(_do, jobs)


_here: list[Worker] = []
"""The worker of a pool's process; the pool has no other way to keep what its processes loaded."""


def _begin(plan: Plan, workers: int) -> None:
    quiet_libraries()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    _here.append(Worker.load(plan))


def _do(job: Job) -> Job:
    _here[0].do(job)
    return job
