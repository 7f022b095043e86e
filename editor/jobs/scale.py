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
from contextlib import contextmanager, redirect_stdout
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
ALONE = 3
"""Single edits of which the fastest counts: other programs only ever slow one down."""
SECONDS = 1.0
"""Of the example clip; at most four keyframes with this preset."""


@dataclass(frozen=True)
class Work:
    """What is to be done, and how often."""

    engine: str
    clip: Path
    request: EditRequest
    jobs: int


def measure(folder: Path, jobs: int = JOBS, engine: str = ENGINE) -> dict[str, Any]:
    """Jobs per minute of every executor with one and with two workers, their ratio, and what Ray adds to one edit."""
    settings = Settings(data=folder, cache_mb=0, queue_size=jobs + 2, disk_floor_mb=0)
    example = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))[0]
    clip = folder / "clip.mp4"
    normalise(EXAMPLES / example["file"], clip, Limits.from_settings(settings))
    words = {"source": example["source"], "targets": tuple(example["targets"][:1])}
    work = Work(engine, clip, EditRequest.from_preset("fast", **words, end=SECONDS), jobs)
    one, two = replace(settings, devices=("cpu",)), replace(settings, devices=("cpu:2",))
    figures: dict[str, Any] = {"process": _pair(one, two, work)}
    if find_spec("ray") is None:
        return {**figures, "ray": "not installed: pip install -r requirements-cluster.txt"}
    with _cluster(folder) as address:
        afar = replace(settings, executor="ray", ray_address=address)
        one, two = (replace(afar, ray_cpus=max(1, cores() // workers)) for workers in (1, 2))
        figures["ray"] = _pair(one, two, work)
    figures["ray_overhead"] = figures["ray"]["seconds_alone"] / figures["process"]["seconds_alone"]
    return figures


def _pair(one: Settings, two: Settings, work: Work) -> dict[str, float]:
    alone, rate = _run(one, 1, work)
    _, rate_of_two = _run(two, 2, work)
    return {
        "seconds_alone": alone,
        "jobs_per_minute_1_worker": rate,
        "jobs_per_minute_2_workers": rate_of_two,
        "ratio": rate_of_two / rate,
    }


def _run(settings: Settings, workers: int, work: Work) -> tuple[float, float]:
    """Seconds of one edit alone and jobs per minute of many, on workers that are warm."""
    service = JobService(settings, work.engine).start()
    try:
        while len(service.executor.slots) < workers:
            time.sleep(0.1)
        _finished(service, work, workers)  # every worker loads its model
        alone = min(_seconds(_finished(service, work, 1)) for _ in range(ALONE))
        return alone, 60 * work.jobs / _seconds(_finished(service, work, work.jobs))
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


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """The address of a Ray cluster of this machine: a head that computes nothing and a node with all cores."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=cores(), env_vars={"EDITOR_DATA": str(folder / "node"), "EDITOR_CACHE_MB": "0"})
    try:
        yield made.address
    finally:
        made.shutdown()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, redirect_stdout(sys.stderr):
        found = measure(Path(place))
    sys.stdout.write(json.dumps(found) + "\n")
