"""Which results are missing, as jobs, and doing them in one process or several, with progress and the time left.

Every finished job is on disk at once, so an interrupted run continues where it stopped.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editor.console import clock, quiet_libraries
from editor.evaluation.configurations import Configuration
from editor.evaluation.records import Record, Store
from editor.evaluation.tasks import Task, by_clip
from editor.method.control import settled

BESIDE = 20.0
"""What drawing, the VAE and the metrics take per task, in UNet evaluations per frame; only for the time left."""


@dataclass(frozen=True)
class Job:
    """Some tasks of one clip for one configuration."""

    configuration: Configuration
    tasks: tuple[Task, ...]

    @property
    def work(self) -> float:
        """A rough amount of work, in UNet evaluations of one frame; only for the time left."""
        evaluations = len(self.tasks) * BESIDE
        if self.configuration.how in ("edit", "sdedit"):
            request = settled(self.configuration.request(self.tasks, "demo"))
            inversion = {"null_text": 4, "virtual": 0}.get(request.inversion, 1)  # a fit runs forward, back and on
            evaluations += request.steps * (inversion + 3 * len(self.tasks))  # source, guidance's base and target
        return evaluations * self.configuration.frames


@dataclass(frozen=True)
class Harness:
    """What results are made with: the model by name and its revision, where they go, and a CLIP folder for scores."""

    model: str
    revision: str
    store: Store
    inversions: Path
    clip: Path | None = None

    def left(self, configurations: Iterable[Configuration], tasks: Sequence[Task], again: bool = False) -> list[Job]:
        """What has no complete result with the current settings yet (`again`: everything), clip by clip."""
        listed = tuple(configurations)
        found = {c.name: () if again else self.current(c, tasks) for c in listed}
        done = {name: {record.task for record in records if record.complete} for name, records in found.items()}
        jobs = []
        for group in by_clip(tasks):
            for configuration in listed:
                within = set(tasks[: configuration.first])
                missing = tuple(t for t in group if t in within and t.id not in done[configuration.name])
                jobs += [Job(configuration, some) for some in self._by_steps(configuration, missing)]
        return jobs

    def _by_steps(self, configuration: Configuration, tasks: Sequence[Task]) -> Iterator[tuple[Task, ...]]:
        """Tasks of one clip that run in equally many steps: together the most demanding would decide for all."""
        if configuration.how != "edit":
            yield from [tuple(tasks)] if tasks else []
            return
        groups: dict[int, list[Task]] = {}
        for task in tasks:
            groups.setdefault(settled(configuration.request((task,), self.model)).steps, []).append(task)
        yield from map(tuple, groups.values())

    def current(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Record]:
        """The existing results with the configuration's current settings, in the order of `tasks`."""
        kept = self.store.read(configuration.name)
        pairs = ((task, kept[task.id]) for task in tasks if task.id in kept)
        return [record for task, record in pairs if record.is_of(configuration, task, self.model, self.revision)]

    def run(self, jobs: Sequence[Job], workers: int, say: Callable[[str], None]) -> None:
        """Do the jobs, in `workers` processes. `say` hears of every finished job and of the time left."""
        results, finished, work = sum(len(job.tasks) for job in jobs), 0, 0.0
        whole, began = sum(job.work for job in jobs), time.monotonic()
        for job, records in _done_in_turn(self, jobs, min(workers, len(jobs))):
            self.store.put(records)  # here, so that one process writes
            finished, work = finished + len(job.tasks), work + job.work
            left = (time.monotonic() - began) / work * (whole - work)
            where = f"{job.configuration.name} on {job.tasks[0].clip}"
            say(f"{finished}/{results} results, {where}, {clock(left)} left")


def _done_in_turn(harness: Harness, jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, list[Record]]]:
    """Every job with its results when it is done."""
    if workers == 1:
        from editor.evaluation.judging import Evaluator  # loads the libraries, which nothing needs before the first job

        evaluator = Evaluator.load(**vars(harness))
        for job in jobs:
            yield job, evaluator.do(job.configuration, job.tasks)
    elif workers > 1:
        # a fresh interpreter each: PyTorch's threads do not survive a fork
        with multiprocessing.get_context("spawn").Pool(workers, _begin, (harness, workers)) as pool:
            yield from pool.imap_unordered(_do, jobs)


_here: list[Any] = []
"""The evaluator of a pool's process; the pool has no other way to keep what its processes loaded."""


def _begin(harness: Harness, workers: int) -> None:
    quiet_libraries()  # before anything imports them: their notices would mix with the progress
    import torch

    from editor.evaluation.judging import Evaluator

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    _here.append(Evaluator.load(**vars(harness)))


def _do(job: Job) -> tuple[Job, list[Record]]:
    return job, _here[0].do(job.configuration, job.tasks)
