"""What a worker process does for a Ray cluster: it computes nothing itself but has it done by an actor on one node.

Ray is used in such processes only: a server whose cluster goes away must not go with it.
"""

import itertools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from editor.events import DISK_FULL, EditError, EditResult, is_disk_full
from editor.jobs import files
from editor.jobs.executor import Ending, Outcome, Report, Task
from editor.jobs.node import News, Node, Remains
from editor.jobs.wire import Setup, decode, encode
from editor.media.files import replacing
from editor.settings import Settings

log = logging.getLogger(__name__)

_CHUNK = 4 * 2**20
"""Bytes of a file that travel at once: an object store is small beside a clip, and takes pieces as they are used up."""
_LOOK = 0.1
_ANSWER = 5.0
"""Seconds in which an idle actor has to answer."""
FULL = "The cluster has no room left for this edit. Please try again later, or tell whoever runs this page."
_PREFIX = "node-"


class _Absent(Exception):
    """The node is not there, or does not start a worker."""


def connect(settings: Settings) -> Any:  # noqa: ANN401 - the module, which is loaded only here
    """Ray, connected to the cluster. Raises `ConnectionError` where there is none."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray

    ray.init(settings.ray_address, namespace="recast", log_to_driver=False, logging_level=logging.ERROR)
    return ray


def slots_of(nodes: list[dict[str, Any]], cpus: int) -> dict[str, str]:
    """Slot -> id of its node: one for each GPU, or else for each `cpus` processor cores, at least one."""
    slots = {}
    for node in nodes:
        if not node["Alive"]:
            continue
        gpus, cores = (int(node["Resources"].get(kind, 0)) for kind in ("GPU", "CPU"))
        count = gpus or (max(1, cores // cpus) if cores else 0)
        slots |= {f"{_PREFIX}{node['NodeID'][:8]}:{n}": node["NodeID"] for n in range(count)}
    return slots


class RemotePerformer:
    """Has the tasks of one slot computed by one actor, which stays there with its models."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._timing = setup.timing
        self._ray: Any = None
        self._actor: Any = None
        self._numbers = itertools.count()

    def run(self, slot: str, task: Task, report: Report, stopped: Callable[[], bool]) -> Outcome:
        """Have `task` computed on the node of `slot`. Raises nothing: every end is an `Outcome`."""
        try:
            self._ray = self._ray or connect(self._setup.settings)
            if not self._answers():
                self._drop()
                self._actor = self._started(slot, stopped)
            return self._attended(task, report, stopped)
        except (_Absent, ConnectionError) as error:
            self._drop()
            return Outcome(Ending.STOPPED if stopped() else Ending.ABSENT, message=str(error))
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Outcome:
        """What becomes of a run that ended in an exception of Ray's or of a file's."""
        known = self._ray.exceptions
        if isinstance(error, known.ObjectStoreFullError | known.OutOfDiskError) or is_disk_full(error):
            log.warning("a run found no room: %s", error)
            return Outcome(Ending.FAILED, message=DISK_FULL if is_disk_full(error) else FULL)
        log.warning("the worker on the node was lost: %s", str(error).strip().splitlines()[0])
        self._drop()
        return Outcome(Ending.LOST, message=f"the worker on the node was lost ({type(error).__name__})")

    def _answers(self) -> bool:
        """Whether there is an actor from an earlier run: its node may have gone while it was idle."""
        if self._actor is None:
            return False
        try:
            return self._ray.get(self._actor.ready.remote(), timeout=_ANSWER)
        except self._ray.exceptions.RayError:
            return False

    def _started(self, slot: str, stopped: Callable[[], bool]) -> Any:  # noqa: ANN401 - an actor
        """A fresh actor on the slot's node. Raises `_Absent`."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        cpus = self._setup.settings.ray_cpus
        there = slots_of(self._ray.nodes(), cpus).get(slot)
        if there is None:
            raise _Absent(f"{slot} is not in the cluster any more")
        gpu = bool(nodes[there].get("GPU"))
        share = {"num_gpus": 1, "num_cpus": 0} if gpu else {"num_cpus": min(cpus, int(nodes[there]["CPU"]))}
        actor = (
            self._ray.remote(concurrency_groups={"talk": 4})(Node)
            .options(
                **share,
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(there, soft=False),
            )
            .remote(slot, encode(self._setup))
        )
        ready, deadline = actor.ready.remote(), time.monotonic() + self._timing.begin
        while not self._ray.wait([ready], timeout=_LOOK)[0]:
            if stopped() or time.monotonic() > deadline:
                self._ray.kill(actor)
                raise _Absent(f"{slot} did not start a worker within {self._timing.begin:g} s")
        try:
            self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            raise _Absent(f"{slot} starts no worker: {str(error).strip().splitlines()[-1]}") from error
        return actor

    def _attended(self, task: Task, report: Report, stopped: Callable[[], bool]) -> Outcome:
        """Send the clip, pass on what the actor says, and bring its results."""
        number, heard, asked = next(self._numbers), time.monotonic(), False
        clip = (task.folder / files.CLIP).read_bytes()
        running = self._actor.run.remote(number, clip, task.request.to_dict())
        news = self._talk("news", self._timing.news)
        while True:
            ready, _ = self._ray.wait([running, news], timeout=_LOOK)
            if news in ready:
                self._pass_on(self._ray.get(news), task, report)
                heard = time.monotonic()
                time.sleep(self._timing.news)
                news = self._talk("news", self._timing.news)
            if running in ready:
                break
            if stopped() and not asked:
                self._talk("stop", number)
                asked = True
            if time.monotonic() - heard > self._timing.silence:
                raise TimeoutError(f"silent for {self._timing.silence:g} s")
        remains: Remains = self._ray.get(running)
        self._pass_on(self._ray.get(news), task, report)
        outcome = self._fetched(number, remains, task.folder)
        self._talk("clear", number)
        return outcome

    def _pass_on(self, news: News, task: Task, report: Report) -> None:
        if news.progress:
            report(decode(news.progress))
        if news.preview and news.saved:
            try:
                with replacing(task.preview) as part:
                    part.write_bytes(news.preview)
            except (OSError, EditError):  # no edit fails for its preview
                log.warning("could not write the preview %s", task.preview, exc_info=True)
                return
            report(decode(news.saved))

    def _fetched(self, number: int, remains: Remains, folder: Path) -> Outcome:
        """The outcome, with its files brought to `folder`."""
        outcome: Outcome = decode(remains.outcome)
        for name, size in remains.sizes.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for offset in range(0, size, _CHUNK):
                    file.write(self._ray.get(self._talk("read", number, name, offset, _CHUNK)))
        return replace(outcome, results=tuple(_moved(r, Path(remains.folder), folder) for r in outcome.results))

    def _talk(self, name: str, *values: object) -> Any:  # noqa: ANN401 - a reference to the answer
        """Ask the actor something while it computes."""
        return getattr(self._actor, name).options(concurrency_group="talk").remote(*values)

    def _drop(self) -> None:
        """Give the actor up; the next run gets another."""
        actor, self._actor = self._actor, None
        if actor is not None:
            self._ray.kill(actor)


def _moved(result: EditResult, there: Path, here: Path) -> EditResult:
    """The result with its folder on this machine; one outside its run stays what it is, and is refused."""
    inside = result.folder.is_relative_to(there)
    return replace(result, folder=here / result.folder.relative_to(there)) if inside else result
