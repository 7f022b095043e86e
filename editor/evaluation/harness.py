"""Doing jobs, in one process or several, with progress and the time left. Imports no torch until a job begins.

Every finished job is on disk at once, so an interrupted run goes on where it stopped.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from editor.console import clock, quiet_libraries
from editor.evaluation.plan import Job, Plan
from editor.evaluation.records import Record


def execute(plan: Plan, jobs: Sequence[Job], workers: int, say: Callable[[str], None]) -> None:
    """Do the jobs, in `workers` processes. `say` hears of every finished job and of the time left."""
    if not jobs:
        return
    results, finished, work = sum(len(job.tasks) for job in jobs), 0, 0.0
    whole, began = sum(job.work for job in jobs), time.monotonic()
    for job, records in _done_in_turn(plan, jobs, min(workers, len(jobs))):
        plan.store.put(records)  # here, so that one process writes
        finished, work = finished + len(job.tasks), work + job.work
        left = (time.monotonic() - began) / work * (whole - work)
        where = f"{job.configuration.name} on {job.tasks[0].clip}"
        say(f"{finished}/{results} results, {where}, {clock(left)} left")


def _done_in_turn(plan: Plan, jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, list[Record]]]:
    """Every job with its results when it is done."""
    if workers == 1:
        from editor.evaluation.worker import Worker

        worker = Worker.load(plan)
        for job in jobs:
            yield job, worker.do(job)
        return
    # a fresh interpreter each: PyTorch's threads do not survive a fork
    with multiprocessing.get_context("spawn").Pool(workers, _begin, (plan, workers)) as pool:
        yield from pool.imap_unordered(_do, jobs)


_here: list[Any] = []
"""The worker of a pool's process; the pool has no other way to keep what its processes loaded."""


def _begin(plan: Plan, workers: int) -> None:
    quiet_libraries()  # before anything imports them: their notices would mix with the progress
    import torch

    from editor.evaluation.worker import Worker

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    _here.append(Worker.load(plan))


def _do(job: Job) -> tuple[Job, list[Record]]:
    return job, _here[0].do(job)
