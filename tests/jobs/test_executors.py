"""What every executor promises, one suite for all of them; then what several workers on one machine promise."""

import dataclasses
import os
import signal
import sys

import pytest

from editor.events import EditError, Stage
from editor.jobs import JobState, devices, new_secret, scale
from editor.jobs.devices import Device
from editor.settings import Settings
from tests.jobs.conftest import AFAR, QUICK, House, wait_for, wait_until
from tests.jobs.fake_engine import alive

KINDS = {
    "inline": {},
    "process": {},
    "processes": {"devices": ("cpu:2",)},
    "ray": {"executor": "ray", "ray_cpus": 1},
    "zerogpu": {"executor": "zerogpu"},
}
"""Every executor, by the settings that choose it."""


@dataclasses.dataclass
class Rig:
    """One executor and how to make services with it."""

    kind: str
    house: House
    settings: dict

    def service(self, **settings):
        make = self.house.inline if self.kind == "inline" else self.house.service
        timing = AFAR if self.kind == "ray" else QUICK
        return make(timing=timing, **self.settings, **settings)


@pytest.fixture(params=KINDS)
def rig(request, house):
    settings = KINDS[request.param]
    if request.param == "ray":
        house.afar = True
        settings = {**settings, "ray_address": request.getfixturevalue("cluster").address}
    if request.param == "zerogpu":
        pytest.importorskip("spaces", reason="spaces is not installed: pip install spaces")
        house.lent = True
    return Rig(request.param, house, settings)


def begun(house, job, times=1):
    wait_for(lambda: house.runs(job.id) == times)


def overlaps(house):
    return [job for word, job in house.on_device() if word == "OVERLAP"]


# --- the contract


def test_done_and_failed(rig):
    service = rig.service().start()
    jobs = [rig.house.submit(service, source) for source in ("steps=3", "refuse", "raise", "steps=2")]
    ends = [wait_for(lambda job=job: (now := service.view(job.id)).state.final and now) for job in jobs]
    assert [end.state for end in ends] == [JobState.DONE, JobState.FAILED, JobState.FAILED, JobState.DONE]
    assert ends[0].preview_version and ends[0].preview.read_bytes()[8:12] == b"WEBP"
    assert all(result.edited.is_file() and result.manifest.is_file() for result in ends[3].results)
    assert ends[1].error == "The clip has too few frames."
    assert "KeyError" in ends[2].error and "secret internals" not in ends[2].error
    assert {end.device for end in ends} <= set(service.executor.slots)
    assert not overlaps(rig.house)


def test_cancelled_in_each_stage(rig):
    service = rig.service().start()
    for stage in Stage:
        owner = new_secret()
        job = rig.house.submit(service, f"at={stage} gate", owner)
        wait_for(lambda job=job, stage=stage: service.view(job.id).stage is stage)
        service.cancel(job.id, owner)
        ended = wait_until(service, job, JobState.CANCELLED)
        assert ended.results == () and ended.error is None
    wait_until(service, rig.house.submit(service), JobState.DONE)
    assert not overlaps(rig.house)


def test_restarted(rig):
    before = rig.service().start()
    running, waiting = rig.house.submit(before, "steps=9 gate"), rig.house.submit(before, "gate")
    begun(rig.house, running)
    before.stop()
    after = rig.service()
    assert after.view(running.id).state is JobState.QUEUED
    rig.house.open_gate()
    after.start()
    for job in (running, waiting):
        rig.house.visit(after, job)  # where a device is lent to a visitor's event
    for job in (running, waiting):
        wait_until(after, job, JobState.DONE)
    assert after.store.database.read("SELECT max(losses) AS n FROM jobs")[0]["n"] == 0, "nothing is held against them"
    assert not overlaps(rig.house)


def test_lost(rig):
    if rig.kind in ("inline", "zerogpu"):
        pytest.skip("computes in this process: a crash would end the tests as it would end the server")
    service = rig.service().start()
    once = rig.house.submit(service, "crash-once")
    wait_until(service, once, JobState.DONE)
    ever, after = (rig.house.submit(service, source) for source in ("crash", "steps=2"))
    assert "interrupted twice" in wait_until(service, ever, JobState.FAILED).error
    wait_until(service, after, JobState.DONE)
    assert [rig.house.runs(job.id) for job in (once, ever, after)] == [2, 2, 1]


def test_two_jobs_never_on_one_device(rig):
    service = rig.service().start()
    jobs = [rig.house.submit(service, "steps=3 gate") for _ in range(6)]
    count = 2 if rig.kind in ("processes", "ray") else 1
    wait_for(lambda: len(rig.house.on_device()) == count)
    assert len(service.executor.slots) == count
    assert service.health().running == count
    assert {service.view(job.id).device for job in jobs[:count]} == set(service.executor.slots)
    rig.house.open_gate()
    for job in jobs:
        wait_until(service, job, JobState.DONE)
    assert not overlaps(rig.house)
    assert [rig.house.runs(job.id) for job in jobs] == [1] * 6


def test_a_worker_killed_in_each_stage(house):
    service = house.service().start()
    for stage in Stage:
        house.close_gate(missing_ok=True)
        job = house.submit(service, f"at={stage} gate")
        wait_for(lambda job=job, stage=stage: service.view(job.id).stage is stage)
        os.kill(worker_of(service, job), signal.SIGKILL)
        begun(house, job, 2)
        house.open_gate()
        assert wait_until(service, job, JobState.DONE).results[0].edited.is_file()
    assert not overlaps(house)


# --- GPUs that are lent


class Lender:
    """Stands in for the `spaces` package where it lends GPUs: it asks for a time, and may refuse or break off."""

    def __init__(self):
        self.asked, self.trouble = [], None

    def GPU(self, duration):
        def decorate(function):
            def lend(*arguments):
                self.asked.append(duration(*arguments))
                if self.trouble:
                    raise self.trouble
                yield from function(*arguments)

            return lend

        return decorate


class GradioError(Exception):
    def __init__(self, message):
        self.message = message


def test_a_loan_is_asked_for_as_long_as_the_edit_needs_and_a_refusal_is_told(house, monkeypatch):
    lender = Lender()
    monkeypatch.setitem(sys.modules, "spaces", lender)
    house.lent = True
    service = house.service(executor="zerogpu", job_seconds=100).start()
    for seconds, asked in ((None, 100), (10.0, 45), (1000.0, 100)):
        service.admit = lambda request, frames, seconds=seconds: seconds
        wait_until(service, house.submit(service), JobState.DONE)
        assert lender.asked.pop() == asked
    lender.trouble = GradioError("You have exceeded your GPU quota (45s &gt; 9s left). <a href='x'>Log in</a>")
    refused = wait_until(service, house.submit(service), JobState.FAILED)
    assert refused.error == "You have exceeded your GPU quota (45s > 9s left). Log in"


def test_lent_devices_serve_in_turn_those_whose_visitors_are_there(house, monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", Lender())
    service = house.service(executor="zerogpu").start()
    gone = house.submit(service)
    house.lent = True
    ann = new_secret()
    jobs = [house.submit(service, "gate", owner) for owner in (ann, ann, new_secret())]
    begun(house, jobs[0])
    house.open_gate()
    for job in jobs:
        wait_until(service, job, JobState.DONE)
    assert [job for word, job in house.on_device() if word == "begin"] == [jobs[n].id for n in (0, 2, 1)]
    assert service.view(gone.id).state is JobState.QUEUED, "nobody is there whose device it could be computed on"
    assert not overlaps(house)


def test_a_space_with_lent_gpus_is_noticed():
    space = {"SPACE_HOST": "someone-recast.hf.space", "SPACES_ZERO_GPU": "true"}
    assert (Settings.from_env(space).executor, Settings.from_env(space).job_seconds) == ("zerogpu", 120)
    assert Settings.from_env({"SPACE_HOST": "someone-recast.hf.space"}).executor == "process"


# --- several workers on one machine


@pytest.fixture
def two(house):
    """A service with two workers, both at work on a job that waits at the gate."""
    service = house.service(devices=("cpu:2",), timing=dataclasses.replace(QUICK, silence=8.0)).start()
    jobs = [house.submit(service, "gate") for _ in range(2)]
    for job in jobs:
        begun(house, job)
    return service, jobs


def worker_of(service, job):
    return service.executor._posts[service.view(job.id).device].worker._process.pid


def test_a_killed_worker_takes_only_its_own_job(house, two):
    service, (first, second) = two
    os.kill(worker_of(service, first), signal.SIGKILL)
    begun(house, first, 2)
    house.open_gate()
    for job in (first, second):
        wait_until(service, job, JobState.DONE)
    assert [house.runs(job.id) for job in (first, second)] == [2, 1]


def test_a_silent_worker_takes_only_its_own_job_and_the_server_stays_healthy(house, two):
    service, (first, second) = two
    frozen, device = worker_of(service, first), service.view(first.id).device
    os.kill(frozen, signal.SIGSTOP)
    service.timing = dataclasses.replace(QUICK, silence=1.0)
    told = wait_for(lambda: (now := service.health()).worker == "busy" and "silent" in states(now) and now)
    assert told.ok and states(told)[service.executor.slots.index(device)] == "silent"
    begun(house, first, 2)
    assert not alive(frozen)
    house.open_gate()
    for job in (first, second):
        wait_until(service, job, JobState.DONE)
    assert [house.runs(job.id) for job in (first, second)] == [2, 1]


def states(health):
    return [worker.state for worker in health.workers]


def test_a_worker_that_froze_while_idle_costs_no_job_its_run(house):
    service = house.service(timing=dataclasses.replace(QUICK, silence=4.0)).start()
    wait_until(service, house.submit(service), JobState.DONE)
    frozen = service.executor._posts["device"].worker
    os.kill(frozen._process.pid, signal.SIGSTOP)
    wait_for(lambda: frozen.silent_for() > 4.0)
    job = house.submit(service)
    wait_until(service, job, JobState.DONE)
    assert house.runs(job.id) == 1


def test_the_names_of_devices(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "cores", lambda: 8)

    def planned(*names):
        return devices.devices(Settings(devices=names))

    assert planned() == (Device("device", "auto"),), "as ever, where nothing is set"
    assert devices.devices(Settings(device="cpu")) == (Device("device", "cpu"),)
    half = {"OMP_NUM_THREADS": "4"}
    assert planned("cpu:2") == (Device("cpu:0", "cpu", half), Device("cpu:1", "cpu", half))
    assert planned("cuda:0", "cuda:3") == tuple(
        Device(f"cuda:{n}", "cuda", {**half, "CUDA_VISIBLE_DEVICES": str(n)}) for n in (0, 3)
    )
    assert planned("mps") == (Device("mps", "mps"),)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    assert planned("cuda:1")[0].env["CUDA_VISIBLE_DEVICES"] == "7", "the second of those that this server may use"
    with pytest.raises(EditError, match="EDITOR_DEVICES names cuda:2, but CUDA_VISIBLE_DEVICES shows 2"):
        planned("cuda:2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in planned("cpu:2")[0].env, "whoever set it knows better"


def test_auto_means_every_cuda_device(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for code, slots in (("print(2)", ("cuda:0", "cuda:1")), ("print(0)", ("device",)), ("1 / 0", ("device",))):
        monkeypatch.setattr(devices, "_COUNT", code)
        assert tuple(device.slot for device in devices.devices(Settings(devices=("auto",)))) == slots


@pytest.mark.parametrize("names", [("cpu:0",), ("cpu:999",), ("cuda",), ("cuda:x",), ("tpu",), ("cuda:-1",), ("cpu:",)])
def test_names_that_are_none(names):
    with pytest.raises(EditError, match=f"EDITOR_DEVICES names '{names[0]}'. Allowed, comma-separated: auto, cuda:0"):
        devices.devices(Settings(devices=names))


def test_a_device_is_named_once():
    with pytest.raises(EditError, match="cuda:0 more than once"):
        devices.devices(Settings(devices=("cuda:0", "cuda:0")))


def test_what_two_workers_gain_is_measured(tmp_path, monkeypatch):
    """With edits that only wait, so two workers finish twice as many."""
    monkeypatch.setattr(scale, "find_spec", lambda name: None)
    figures = scale.measure(tmp_path, jobs=6, engine="tests.web.fake_engine:run")
    assert figures["ray"].startswith("not installed")
    found = figures["process"]
    assert found["ratio"] == found["jobs_per_minute_2_workers"] / found["jobs_per_minute_1_worker"] > 1.1
    assert 0 < found["seconds_alone"] < 60
