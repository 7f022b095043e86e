"""The worker process: warm, supervised, killed and replaced. The fake engine runs in a real process."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from editor.events import EditError, EditResult, Progress, Stage
from editor.jobs import JobState, files, new_secret
from editor.jobs.executor import Ending, Outcome, PreviewSaved, Task
from editor.jobs.wire import Beat, Run, Setup, Stop, decode, encode
from editor.settings import Settings
from tests.jobs.conftest import QUICK, asking, wait_for, wait_until
from tests.jobs.fake_engine import alive


def worker_pid(service):
    return service.executor._posts["device"].worker._process.pid


def begun(house, job):
    wait_for(lambda: house.runs(job.id))


def test_the_worker_starts_at_the_first_job_and_stays_warm(house):
    service = house.service().start()
    assert service.health().ok and service.health().workers[0].heartbeat_age is None, "no worker before there is work"
    workers = set()
    for _ in range(3):
        job = house.submit(service)
        done = wait_until(service, job, JobState.DONE)
        workers.add(done.results[0].summary["worker"])
    assert len(workers) == 1 and workers != {os.getpid()}
    health = service.health()
    assert health.ok and health.worker == "idle" and health.workers[0].heartbeat_age is not None
    pid = worker_pid(service)
    service.stop()
    assert not alive(pid)
    assert not service.runner.alive()


@pytest.mark.parametrize("fails", (False, True))
def test_a_server_warms_its_worker_before_the_first_job_and_lives_with_a_failure(house, fails):
    service = house.service().start()
    if fails:
        (house.data / "warm-fails").touch()
    service.executor.warm()
    warmed = wait_for(lambda: (log := house.data / "warmed.log").exists() and log.read_text())
    job = house.submit(service)
    done = wait_until(service, job, JobState.DONE)
    assert warmed == f"{done.results[0].summary['worker']}\n" == (house.data / "warmed.log").read_text()


def test_progress_and_previews_arrive_while_it_runs(house):
    service = house.service().start()
    job = house.submit(service, "steps=3 gate noise")
    seen = wait_for(lambda: (now := service.view(job.id)).preview_version and now)
    assert (seen.state, seen.stage, seen.total, seen.seconds_left) == (JobState.RUNNING, "edit", 3, 3.0)
    assert seen.preview.read_bytes()[8:12] == b"WEBP"
    house.open_gate()
    done = wait_until(service, job, JobState.DONE)
    assert done.preview_version == 3


def test_a_killed_worker_is_replaced_and_the_job_runs_again(house):
    service = house.service().start()
    finished, job, waiting = (house.submit(service, source) for source in ("steps=2", "steps=9 gate", "steps=2"))
    begun(house, job)
    killed = worker_pid(service)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: house.runs(job.id) == 2)
    assert all(result.edited.is_file() for result in service.result(finished.id))
    house.open_gate()
    done = wait_until(service, job, JobState.DONE)
    wait_until(service, waiting, JobState.DONE)
    assert [house.runs(each.id) for each in (finished, job, waiting)] == [1, 2, 1]
    assert done.results[0].summary["worker"] != killed
    assert done.results[0].edited.is_relative_to(files.run_folder(house.data, job.id, 2))
    assert not files.run_folder(house.data, job.id, 1).exists()


def test_a_job_that_kills_the_worker_twice_fails_and_the_next_one_runs(house):
    service = house.service().start()
    deadly = house.submit(service, "crash")
    after = house.submit(service)
    failed = wait_until(service, deadly, JobState.FAILED)
    assert "interrupted twice" in failed.error and "Try fewer frames" in failed.error
    assert house.runs(deadly.id) == 2
    wait_until(service, after, JobState.DONE)


def test_a_worker_killed_while_idle_is_replaced(house):
    service = house.service().start()
    wait_until(service, house.submit(service), JobState.DONE)
    killed = worker_pid(service)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: service.health().workers[0].heartbeat_age is None)
    assert service.health().ok
    wait_until(service, house.submit(service), JobState.DONE)
    assert worker_pid(service) != killed


def test_the_time_limit_stops_a_slow_job_and_kills_a_stuck_one(house):
    service = house.service(timing=dataclasses.replace(QUICK, grace=0.5)).start()
    wait_until(service, house.submit(service), JobState.DONE)  # starting the worker takes its time on a busy machine
    warm = worker_pid(service)
    service.runner.settings = dataclasses.replace(service.settings, job_seconds=1)
    slow = house.submit(service, "steps=9 gate")
    failed = wait_until(service, slow, JobState.FAILED)
    assert "longer than 1 seconds, the limit" in failed.error
    assert worker_pid(service) == warm and alive(warm), "it listened, so it stays warm"
    stuck = house.submit(service, "hang")
    wait_until(service, stuck, JobState.FAILED)
    assert not alive(warm), "it did not react, so it was killed"
    assert house.runs(stuck.id) == 1, "an overrun is not tried again"
    service.runner.settings = service.settings
    wait_until(service, house.submit(service), JobState.DONE)


def test_cancel_takes_effect_between_steps_and_never_overlaps_the_next_job(house):
    service = house.service().start()
    owners = [new_secret() for _ in range(4)]
    jobs = [house.submit(service, "steps=9 gate", owner) for owner in owners]
    for job, owner in zip(jobs, owners, strict=True):
        begun(house, job)
        service.cancel(job.id, owner)
    for job in jobs:
        wait_until(service, job, JobState.CANCELLED)
    assert house.on_device() == [(word, job.id) for job in jobs for word in ("begin", "end")]


def test_a_worker_that_ignores_a_cancel_is_killed(house):
    service = house.service(timing=dataclasses.replace(QUICK, grace=0.3)).start()
    owner = new_secret()
    stuck = house.submit(service, "hang", owner)
    begun(house, stuck)
    pid = worker_pid(service)
    assert service.cancel(stuck.id, owner).stopping
    wait_until(service, stuck, JobState.CANCELLED)
    assert not alive(pid)
    wait_until(service, house.submit(service), JobState.DONE)


def test_a_frozen_worker_is_noticed_by_its_silence(house):
    service = house.service(timing=dataclasses.replace(QUICK, silence=6.0)).start()  # more than a start takes
    job = house.submit(service, "freeze-once")
    begun(house, job)
    frozen = worker_pid(service)
    done = wait_until(service, job, JobState.DONE)
    assert house.runs(job.id) == 2
    assert not alive(frozen)
    assert done.results[0].summary["worker"] != frozen


def test_health_says_when_the_worker_is_silent(house):
    service = house.service(timing=dataclasses.replace(QUICK, silence=600.0)).start()
    job = house.submit(service, "freeze")
    begun(house, job)
    service.timing = dataclasses.replace(QUICK, silence=1.0)
    wait_for(lambda: not service.health().ok)
    assert service.health().worker == "silent"


def test_stopping_the_service_ends_the_worker_and_hands_the_job_back(house):
    service = house.service().start()
    job = house.submit(service, "hang")
    begun(house, job)
    pid = worker_pid(service)
    service.stop()
    assert not alive(pid)
    after = house.service()
    assert after.view(job.id).state is JobState.QUEUED
    assert not files.run_folder(house.data, job.id, 1).exists()


def test_an_engine_that_cannot_be_imported_fails_the_job(house):
    service = house.service()
    post = service.executor._posts["device"]
    post.setup = dataclasses.replace(post.setup, engine="tests.jobs.missing:run")
    service.start()
    job = house.submit(service)
    failed = wait_until(service, job, JobState.FAILED)
    assert "ModuleNotFoundError" in failed.error
    with pytest.raises(EditError, match="ModuleNotFoundError"):
        service.result(job.id)


RESULT = EditResult(
    "ein blaues\nAuto é", Path("/a/0"), {"psnr": 1.5, "frames": 3, "inversion_cached": False, "n": None}
)


@pytest.mark.parametrize(
    "message",
    [
        Setup("a:b", Settings(data=Path("/x/ü"), models=("demo", "b"), share=True, keep_hours=float("inf")), QUICK),
        Run("device", Task(Path("/a/run-1"), Path("/a/p.webp"), asking(word_weights={"snow": 1.5}, end=2.5))),
        Stop(),
        Beat(),
        Progress(Stage.NULL_TEXT, 3, 25, None, "line one\nline two"),
        PreviewSaved(1, 4, 25),
        Outcome(Ending.DONE, results=(RESULT, RESULT)),
        Outcome(Ending.FAILED, message="too “long”"),
    ],
)
def test_there_and_back(message):
    line = encode(message)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line) == message
    assert repr(decode(line)) == repr(message)  # equal is not enough: False == 0 and 3 == 3.0


def test_only_known_things_cross():
    with pytest.raises(ValueError, match="object"):
        encode(Outcome(Ending.DONE, message=object()))
    with pytest.raises(KeyError):
        decode(b'{"kind": "Popen", "body": {"args": "x"}}')
    with pytest.raises(ValueError, match="settings"):
        decode(b'{"kind": "Setup", "body": {"engine": "a:b"}}')
