"""A real Ray cluster on this machine, and what may happen to it. The contract itself is in `test_executors.py`."""

import dataclasses
import errno
import shutil
import time
from types import SimpleNamespace

import pytest

from editor.events import EditError
from editor.jobs import JobState, cluster, new_secret, scout
from editor.jobs import node as node_module
from editor.jobs.executor import Ending, Task
from editor.jobs.remote import RemotePerformer, slots_of
from editor.jobs.service import JobService
from editor.jobs.wire import Setup
from editor.settings import ROOT, Settings
from tests.jobs.conftest import AFAR, add_node, asking, wait_for, wait_until
from tests.jobs.fake_engine import alive


@pytest.fixture
def serve(house, request):
    """Makes started services on the cluster; they know its two nodes when they are returned."""
    house.afar = True
    address = request.getfixturevalue("cluster").address

    def make(nodes=2, **timing):
        service = house.service(
            timing=dataclasses.replace(AFAR, **timing), executor="ray", ray_address=address, ray_cpus=1
        ).start()
        wait_for(lambda: len(service.executor.slots) == nodes)
        return service

    return make


def test_bad_clocks_full_stores_and_slow_networks(house, serve):
    """An hour back on the node; results larger than an object store; a look at the node every other second."""
    service = serve(news=2.0)
    clock, big, slow = (house.submit(service, words) for words in ("clock", "big=120", "steps=400"))
    assert wait_until(service, clock, JobState.DONE).results
    done = wait_until(service, big, JobState.DONE)
    assert done.results[0].edited.stat().st_size == 120 * 2**20
    done = wait_until(service, slow, JobState.DONE)
    looks = (done.ended - done.started) / 2.0 + 2
    assert 1 <= done.preview_version <= looks, "of 400 previews the newest at each look, and none was waited for"
    assert done.created <= done.started <= done.ended, "times are the server's"


def test_an_edit_that_does_not_hear_a_stop_is_ended_on_its_node(house, serve):
    service = serve(grace=1.0)
    owners = [new_secret() for _ in range(2)]
    stuck = [house.submit(service, "hang", owner) for owner in owners]
    for job, owner in zip(stuck, owners, strict=True):
        wait_for(lambda job=job: house.runs(job.id))
        service.cancel(job.id, owner)
        wait_until(service, job, JobState.CANCELLED)
    after = [house.submit(service, "steps=2") for _ in range(2)]
    for job in after:
        wait_until(service, job, JobState.DONE)
    assert "OVERLAP" not in [word for word, _ in house.on_device()]


def test_a_node_that_is_lost_while_idle_costs_no_job_its_run(house, serve, request):
    nodes = request.getfixturevalue("cluster")
    service = serve()
    workers = {}
    for job in [house.submit(service, "pause=0.5") for _ in range(2)]:  # both have their workers
        done = wait_until(service, job, JobState.DONE)
        workers[done.device] = done.results[0].summary["worker"]
    lost = next(iter(nodes.worker_nodes))
    nodes.remove_node(lost, allow_graceful=False)
    wait_for(lambda: not alive(workers[slot_of(lost)]))
    jobs = [house.submit(service, "steps=1") for _ in range(3)]
    for job in jobs:
        wait_until(service, job, JobState.DONE)
    assert [house.runs(job.id) for job in jobs] == [1, 1, 1]
    assert service.store.database.read("SELECT max(losses) AS n FROM jobs")[0]["n"] == 0
    add_node(nodes)
    wait_for(lambda: len(service.executor.slots) == 2)


def test_nodes_that_come_and_go(house, serve, request):
    nodes = request.getfixturevalue("cluster")
    service = serve()
    before, during = (house.submit(service, "gate") for _ in range(2))
    for job in (before, during):
        wait_for(lambda job=job: house.runs(job.id))
    late = add_node(nodes)
    third = house.submit(service, "gate")
    wait_for(lambda: house.runs(third.id))
    assert service.view(third.id).device == slot_of(late), "a node that joined later is used"
    waiting = house.submit(service, "steps=2")
    nodes.remove_node(late, allow_graceful=False)  # during its job
    wait_for(lambda: service.view(third.id).state is JobState.QUEUED)
    house.open_gate()
    for job in (before, during, third, waiting):
        wait_until(service, job, JobState.DONE)
    assert [house.runs(job.id) for job in (before, during, third, waiting)] == [1, 1, 2, 1]
    assert service.view(third.id).device != slot_of(late), "it ran again elsewhere"
    assert service.result(before.id)[0].edited.is_file()
    assert "OVERLAP" not in [word for word, _ in house.on_device()]


def slot_of(node):
    return f"node-{node.node_id[:8]}:0"


def test_killing_every_node_loses_no_job(house, serve, request):
    nodes = request.getfixturevalue("cluster")
    service = serve()
    done = house.submit(service, "steps=1")
    wait_until(service, done, JobState.DONE)
    jobs = [house.submit(service, "gate") for _ in range(3)]
    wait_for(lambda: len([job for job in jobs if house.runs(job.id)]) == 2)
    for node in list(nodes.worker_nodes):
        nodes.remove_node(node, allow_graceful=False)
    wait_for(lambda: service.executor.slots == () and service.health().running == 0)
    assert [service.view(job.id).state for job in jobs] == [JobState.QUEUED] * 3
    assert service.view(jobs[0].id).devices == 0, "which the page says in words"
    health = service.health()
    assert (health.ok, health.worker, health.workers) == (True, "absent", ()), "a restart of the server would not help"
    house.open_gate()
    for _ in range(2):
        add_node(nodes)
    for job in jobs:
        wait_until(service, job, JobState.DONE)
    assert service.result(done.id)[0].edited.is_file()


def test_the_head_is_killed_and_comes_back(house, serve, request):
    """Last in this file: it ends the cluster."""
    nodes = request.getfixturevalue("cluster")
    service = serve()
    wait_until(service, house.submit(service, "steps=1"), JobState.DONE)
    address, port = nodes.address, int(nodes.address.rsplit(":", 1)[1])
    nodes.shutdown()
    wait_for(lambda: service.executor.slots == ())
    waiting = house.submit(service, "steps=2")
    time.sleep(1.0)
    assert service.view(waiting.id).state is JobState.QUEUED and service.view(waiting.id).devices == 0
    from ray.cluster_utils import Cluster

    again = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "gcs_server_port": port}
    )
    try:
        assert again.address == address
        wait_until(service, waiting, JobState.DONE)
    finally:
        again.shutdown()


# --- without a cluster


def test_the_slots_of_nodes():
    def node(number, alive=True, **resources):
        return {"NodeID": f"{number}" * 40, "Alive": alive, "Resources": resources}

    nodes = [node(1), node(2, GPU=2.0, CPU=16.0), node(3, CPU=9.0), node(4, CPU=2.0), node(5, alive=False, GPU=8.0)]
    assert slots_of(nodes, cpus=4) == {
        **{f"node-22222222:{n}": "2" * 40 for n in (0, 1)},
        **{f"node-33333333:{n}": "3" * 40 for n in (0, 1)},
        "node-44444444:0": "4" * 40,
    }


class NoRoom:
    """Stands in for Ray where the object store is full."""

    class exceptions:
        RayError = ObjectStoreFullError = type("ObjectStoreFullError", (Exception,), {})
        OutOfDiskError = type("OutOfDiskError", (Exception,), {})

    def kill(self, actor):
        raise AssertionError("the worker stays: it did nothing wrong")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoRoom.exceptions.ObjectStoreFullError(), "no room left"),
        (NoRoom.exceptions.OutOfDiskError(), "no room left"),
        (OSError(errno.ENOSPC, "full"), "The disk is full"),
    ],
)
def test_where_there_is_no_room_the_edit_fails_with_a_sentence(tmp_path, monkeypatch, error, said):
    (tmp_path / "clip.mp4").touch()
    performer = RemotePerformer(Setup("", Settings(), AFAR))
    performer._ray, performer._actor = NoRoom(), object()
    monkeypatch.setattr(performer, "_answers", lambda: True)

    def full(*told):
        raise error

    monkeypatch.setattr(performer, "_attended", full)
    outcome = performer.run(
        "node-a:0", Task(tmp_path, tmp_path / "p.webp", asking()), lambda event: None, lambda: False
    )
    assert outcome.ending is Ending.FAILED and said in outcome.message
    assert performer._actor is not None


def test_without_ray_the_way_to_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EditError, match=r"pip install -r requirements-cluster\.txt"):
        JobService(Settings(data=tmp_path, executor="ray"))


class OneLook:
    """Stands in for Ray: three nodes, of which one has another version and one cannot load the program."""

    class RayError(Exception):
        pass

    exceptions = SimpleNamespace(RayError=RayError)

    def nodes(self):
        return [{"NodeID": letter * 40, "Alive": True, "Resources": {"CPU": 1}} for letter in "abc"]

    def wait(self, answers, timeout):
        return answers, []

    def get(self, node):
        if node.startswith("c"):
            raise self.RayError("a long trace\nModuleNotFoundError: No module named 'editor'")
        return "something else" if node.startswith("b") else node_module.fingerprint()


def test_nodes_that_would_compute_something_else_are_refused_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setattr(scout, "connect", lambda settings: OneLook())
    monkeypatch.setattr(scout, "_version_of", lambda ray, node: node)
    looking = scout.looks(Setup("", Settings(), dataclasses.replace(AFAR, scout=0.0)))
    assert [next(looking) for _ in range(3)] == [["node-aaaaaaaa:0"]] * 3
    said = [record.getMessage() for record in caplog.records]
    assert sorted(said) == [
        "node bbbbbbbb is refused: it has another version of the program",
        "node cccccccc is refused, it cannot load the program: ModuleNotFoundError: No module named 'editor'",
    ]


def test_the_version_is_that_of_the_source(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "editor" / "jobs", tmp_path / "editor" / "jobs")
    monkeypatch.setattr(node_module, "ROOT", tmp_path)
    first = node_module.fingerprint()
    assert node_module.fingerprint() == first
    with (tmp_path / "editor" / "jobs" / "wire.py").open("a") as file:
        file.write("# news")
    assert node_module.fingerprint() != first
