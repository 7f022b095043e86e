"""A job service with a fake engine, short waiting times, and waits on conditions."""

import itertools
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editor.jobs import JobService, JobState, JobView, new_secret
from editor.jobs.executor import Executor
from editor.jobs.perform import InlineExecutor
from editor.jobs.service import stop_on_sigterm
from editor.jobs.timing import Timing
from editor.request import EditRequest
from editor.settings import Settings

ENGINE = "tests.jobs.fake_engine:run"
QUICK = Timing(tick=0.05, poll=0.05, grace=2.0, beat=0.2, preview=0.0, follow=0.02)
AFAR = replace(QUICK, news=0.05, scout=0.5, rest=1.0, grace=10.0)
"""For workers on other machines: Ray's own processes take seconds to start on a busy one."""
PATIENCE = 60.0
"""Seconds until a condition that must come true is given up; a busy machine starts a process in several."""
SERVING = "import sys; from tests.jobs.conftest import serve; serve(sys.argv[1])"
ROOT = Path(__file__).resolve().parents[2]


def settings_in(data: Path, **changes: Any) -> Settings:
    return Settings(**{"data": data, "disk_floor_mb": 0, "queue_size": 8, "job_seconds": 600, **changes})


def serve(data: str) -> None:
    """Work on the jobs in the folder `data`, in a process of its own, until told to go."""
    logging.basicConfig(level=logging.INFO)
    service = JobService(settings_in(Path(data)), ENGINE, timing=replace(QUICK, lease=3.0)).start()
    stop_on_sigterm(service)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    threading.Event().wait()


def asking(source: str = "steps=3", **values: Any) -> EditRequest:
    return EditRequest.from_preset(source=source, targets=values.pop("targets", ("a blue car",)), **values)


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


class CopiedClips:
    """Stands in for `Intake` where the tests are not about video."""

    def normalise(self, raw: Path, clip: Path, request: EditRequest) -> int:
        clip.parent.mkdir(exist_ok=True)
        shutil.copyfile(raw, clip)
        return 8

    def reuse(self, other: Path, clip: Path, request: EditRequest) -> int:
        return self.normalise(other, clip, request)


class NamedClips(CopiedClips):
    """The clip is the job's id, so that an engine on another machine knows whose it is."""

    def normalise(self, raw: Path, clip: Path, request: EditRequest) -> int:
        clip.parent.mkdir(exist_ok=True)
        clip.write_text(clip.parent.name)
        return 8


class House:
    """Services on one store, and short words for what tests do with them.

    `afar`: engines are on other machines; `lent`: devices are lent to events.
    """

    def __init__(self, folder: Path) -> None:
        self.afar = self.lent = False
        self.data = folder / "data"
        self.raw = folder / "upload.mp4"
        self.raw.write_bytes(b"not empty")
        self._services: list[JobService] = []
        self._servers: list[subprocess.Popen] = []
        self._addresses = itertools.count()

    def service(self, made: Executor | None = None, timing: Timing = QUICK, **settings: Any) -> JobService:
        """A service that is not started."""
        service = JobService(settings_in(self.data, **settings), ENGINE, made, timing)
        service.intake = NamedClips() if self.afar else CopiedClips()
        self._services.append(service)
        return service

    def inline(self, timing: Timing = QUICK, **settings: Any) -> JobService:
        """A service that computes in its runner's thread, not started."""
        return self.service(InlineExecutor(ENGINE, settings_in(self.data, **settings), timing), timing, **settings)

    def server(self) -> subprocess.Popen:
        """A server process on the same store, serving."""
        command = [sys.executable, "-c", SERVING, str(self.data)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        self._servers.append(process)
        assert process.stdout.readline() == b"serving\n"
        return process

    def submit(self, service: JobService, source: str = "steps=3", owner: str | None = None, **values: Any) -> JobView:
        address = values.pop("address", f"10.0.0.{next(self._addresses)}")
        source += f" data={self.data}" if self.afar else ""
        job = service.submit(self.raw, asking(source, **values), owner or new_secret(), address)
        self.visit(service, job)
        return job

    def visit(self, service: JobService, job: JobView) -> None:
        """The event of the job's visitor, where devices are lent to such events."""
        if self.lent:
            threading.Thread(target=service.compute, args=(job.id,), daemon=True).start()

    def open_gate(self) -> None:
        """Let every run go on that waits at the gate."""
        (self.data / "gate").touch()

    def close_gate(self, missing_ok: bool = False) -> None:
        (self.data / "gate").unlink(missing_ok)

    def on_device(self) -> list[tuple[str, str]]:
        """What the engine wrote down: (begin | end | OVERLAP, job id)."""
        log = self.data / "device.log"
        return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []

    def runs(self, job_id: str) -> int:
        return self.on_device().count(("begin", job_id))

    def close(self) -> None:
        self.data.mkdir(exist_ok=True)
        self.open_gate()
        for server in self._servers:
            server.kill()
            server.wait()
            server.stdout.close()
        for service in self._services:
            service.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray cluster of this machine: a head that computes nothing, and two nodes with one core each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-cluster.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "300")
        patch.setenv("EDITOR_DATA", str(tmp_path_factory.mktemp("node")))
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": {"health_check_period_ms": 1000}}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            add_node(made)
        yield made
        made.shutdown()


def add_node(cluster: Any, **more: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, **more)


def state_is(service: JobService, job: JobView, state: JobState) -> Callable[[], JobView | None]:
    """A condition for `wait_for`. A final state other than the awaited one fails at once."""

    def look() -> JobView | None:
        now = service.view(job.id)
        assert now.state is state or not now.state.final, f"{now.state}: {now.error}"
        return now if now.state is state else None

    return look


def wait_until(service: JobService, job: JobView, state: JobState) -> JobView:
    """The job, once it is in `state`."""
    return wait_for(state_is(service, job, state))
