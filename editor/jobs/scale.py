"""How many edits several workers finish, against one: `python -m editor.jobs.scale`, which `bench --only scale` runs.

Twelve small edits with the built-in model, none of which can reuse another's inversion, on one worker with all cores
and on two with half of them each; by worker processes and, where Ray is installed, by actors of a cluster on this
machine.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from editor.events import EditError
from editor.jobs.devices import cores
from editor.jobs.service import ENGINE, JobService, new_secret
from editor.jobs.view import JobState, JobView
from editor.media import Limits, normalise
from editor.request import EditRequest
from editor.settings import ROOT, Settings

EXAMPLES = ROOT / "assets" / "examples"
JOBS = 12
ROUNDS = 3
"""In so many parts the jobs are done, every variant one part after another."""
KINDS = ("process", "ray")
Kind = tuple[str, int]
"""Executor and number of workers."""
SECONDS = 1.0
"""Of the example clip; at most four keyframes with this preset."""


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    clip: Path
    request: EditRequest


def measure(folder: Path, jobs: int = JOBS, engine: str = ENGINE) -> dict[str, Any]:
    """Jobs per minute of every executor with one and with two workers, their ratio, and what Ray adds to one edit."""
    settings = Settings(data=folder, cache_mb=0, queue_size=jobs + 2, disk_floor_mb=0)
    example = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))[0]
    clip = folder / "clip.mp4"
    normalise(EXAMPLES / example["file"], clip, Limits.from_settings(settings))
    words = {"source": example["source"], "targets": tuple(example["targets"][:1])}
    work = Work(clip, EditRequest.from_preset("fast", **words, end=SECONDS))
    with ExitStack() as stack:
        services = {}
        for kind in KINDS if find_spec("ray") else KINDS[:1]:
            for workers in (1, 2):
                one = replace(settings, data=folder / f"{kind}-{workers}")
                ready = _ray(stack, one, workers) if kind == "ray" else _process(one, workers)
                services[kind, workers] = stack.enter_context(_serving(ready, engine, workers, work))
        alone, spent = _timed(services, work, jobs)
    figures = {kind: _figures(kind, alone, spent, jobs) for kind, workers in services if workers == 1}
    if "ray" not in figures:
        return {**figures, "ray": "not installed: pip install -r requirements-cluster.txt"}
    return {**figures, "ray_overhead": alone["ray", 1] / alone["process", 1]}


def _timed(services: dict[Kind, JobService], work: Work, jobs: int) -> tuple[dict[Kind, float], dict[Kind, float]]:
    """Seconds of the fastest single edit, and of all `jobs`: in turns, since other programs come and go."""
    alone = dict.fromkeys(services, float("inf"))
    spent = dict.fromkeys(services, 0.0)
    for _ in range(ROUNDS):
        for kind, service in services.items():
            alone[kind] = min(alone[kind], _seconds(_finished(service, work, 1)))
        for kind, service in services.items():
            spent[kind] += _seconds(_finished(service, work, jobs // ROUNDS))
    return alone, spent


def _figures(kind: str, alone: dict[Kind, float], spent: dict[Kind, float], jobs: int) -> dict[str, float]:
    per_minute = {workers: 60 * (jobs // ROUNDS * ROUNDS) / spent[kind, workers] for workers in (1, 2)}
    return {
        "seconds_alone": alone[kind, 1],
        "jobs_per_minute_1_worker": per_minute[1],
        "jobs_per_minute_2_workers": per_minute[2],
        "ratio": per_minute[2] / per_minute[1],
    }


def _process(settings: Settings, workers: int) -> Settings:
    return replace(settings, devices=("cpu",) if workers == 1 else (f"cpu:{workers}",))


def _ray(stack: ExitStack, settings: Settings, workers: int) -> Settings:
    """Settings for a cluster of this machine: a head that computes nothing, and a node with all cores."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    stack.callback(made.shutdown)
    made.add_node(num_cpus=cores(), env_vars={"EDITOR_DATA": str(settings.data / "node"), "EDITOR_CACHE_MB": "0"})
    share = max(1, cores() // workers)
    return replace(settings, executor="ray", ray_address=made.address, ray_cpus=share)


@contextmanager
def _serving(settings: Settings, engine: str, workers: int, work: Work) -> Iterator[JobService]:
    """A service whose workers are there and have loaded the model."""
    service = JobService(settings, engine).start()
    try:
        while len(service.executor.slots) < workers:
            time.sleep(0.1)
        _finished(service, work, 2 * workers)
        yield service
    finally:
        service.stop()


def _finished(service: JobService, work: Work, count: int) -> list[JobView]:
    """So many edits of different visitors, when all are done. Raises `EditError` when one is not."""
    ids = [service.submit_normalised(work.clip, work.request, new_secret()).id for _ in range(count)]
    while not all(service.view(job_id).state.final for job_id in ids):
        time.sleep(0.05)
    views = [service.view(job_id) for job_id in ids]
    failed = next((view for view in views if view.state is not JobState.DONE), None)
    if failed is not None:
        raise EditError(f"An edit of the measurement ended as {failed.state}: {failed.error}")
    return views


def _seconds(views: list[JobView]) -> float:
    """From the first start to the last end."""
    return max(view.ended for view in views) - min(view.started for view in views)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, redirect_stdout(sys.stderr):
        found = measure(Path(place))
    sys.stdout.write(json.dumps(found) + "\n")
