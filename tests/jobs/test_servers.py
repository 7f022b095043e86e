"""Many at once: several servers on one store, a crowd of visitors, and the lock that keeps one job on the device."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from editor.events import Cancelled, EditError
from editor.jobs import JobState
from editor.jobs.perform import device_lock
from tests.jobs.conftest import ROOT, wait_for, wait_until
from tests.jobs.fake_engine import alive


def begun(house, job, times=1):
    wait_for(lambda: house.runs(job.id) == times)


def holder(house):
    """The process that is on the device."""
    return int((house.data / "device.holder").read_text())


def test_a_killed_server_loses_no_finished_result_and_no_waiting_job(house):
    visitors = house.service()
    house.open_gate()
    finished = house.submit(visitors)
    server = house.server()
    wait_until(visitors, finished, JobState.DONE)
    house.close_gate()
    running, *waiting = (house.submit(visitors, "steps=9 gate") for _ in range(3))
    begun(house, running)
    worker = holder(house)
    server.send_signal(signal.SIGKILL)
    server.wait()
    wait_for(lambda: not alive(worker))
    assert all(r.edited.is_file() for r in visitors.result(finished.id))
    assert visitors.view(running.id).state is JobState.RUNNING, "nobody has noticed yet"
    house.server()
    begun(house, running, 2)
    house.open_gate()
    for job in (running, *waiting):
        wait_until(visitors, job, JobState.DONE)
    assert [house.runs(job.id) for job in (finished, running, *waiting)] == [1, 2, 1, 1]
    assert "OVERLAP" not in [word for word, _ in house.on_device()]


def test_a_job_that_was_running_twice_when_its_server_died_fails(house):
    visitors = house.service()
    job = house.submit(visitors, "steps=9 gate")
    for times in (1, 2):
        server = house.server()
        begun(house, job, times)
        server.send_signal(signal.SIGKILL)
        server.wait()
    house.server()
    assert "interrupted twice" in wait_until(visitors, job, JobState.FAILED).error


def test_sigterm_hands_the_running_job_back_and_leaves(house):
    visitors = house.service()
    job = house.submit(visitors, "hang")
    server = house.server()
    begun(house, job)
    worker = holder(house)
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 0, "the code tells an orderly end from the last resort after 9.5 s, which gives 1"
    assert not alive(worker)
    assert visitors.view(job.id).state is JobState.QUEUED
    assert visitors.store.database.read("SELECT losses FROM jobs")[0]["losses"] == 0


def test_two_servers_on_one_store_share_the_jobs_and_the_device(house):
    visitors = house.service(jobs_per_address=20)
    house.open_gate()
    jobs = [house.submit(visitors, "steps=4") for _ in range(8)]
    house.server()
    house.server()
    done = [wait_until(visitors, job, JobState.DONE) for job in jobs]
    log = house.on_device()
    assert sorted(log) == sorted((word, job.id) for job in jobs for word in ("begin", "end")), "each ran once"
    assert [word for word, _ in log] == ["begin", "end"] * 8, "never two at a time"
    assert all(job.results for job in done)


def test_a_server_that_slept_through_its_lease_does_no_harm(house):
    visitors = house.service()
    job = house.submit(visitors, "steps=9 gate")
    sleeper = house.server()
    begun(house, job)
    sleeper.send_signal(signal.SIGSTOP)
    worker = holder(house)
    house.server()
    taken_over = "SELECT runs FROM jobs WHERE state = 'running'"
    wait_for(lambda: [row["runs"] for row in visitors.store.database.read(taken_over)] == [2])
    assert house.runs(job.id) == 1, "its worker still holds the device"
    sleeper.send_signal(signal.SIGCONT)
    begun(house, job, 2)
    house.open_gate()
    done = wait_until(visitors, job, JobState.DONE)
    assert done.results[0].summary["worker"] != worker
    assert done.results[0].edited.is_file()
    assert "OVERLAP" not in [word for word, _ in house.on_device()]
    assert os.path.basename(done.results[0].edited.parents[1].parent) == "run-2"


def test_twenty_visitors_against_a_queue_of_eight(house):
    service = house.service(queue_size=8).start()
    first = house.submit(service, "steps=3 gate")
    wait_for(lambda: house.runs(first.id))
    together = threading.Barrier(20)

    def visit(number):
        together.wait()
        try:
            return house.submit(service, f"steps={2 + number % 3}")
        except EditError as refusal:
            return str(refusal)

    with ThreadPoolExecutor(20) as visitors:
        answers = list(visitors.map(visit, range(20)))
    refusals = [answer for answer in answers if isinstance(answer, str)]
    jobs = [answer for answer in answers if not isinstance(answer, str)]
    assert len(jobs) == 8 and len(refusals) == 12
    assert all(text.startswith("The queue is full: 8 edits are waiting.") for text in refusals)
    assert service.view(first.id).state is JobState.RUNNING, "all were answered while the first job still ran"
    house.open_gate()
    for job in (first, *jobs):
        wait_until(service, job, JobState.DONE)
    log = house.on_device()
    assert [word for word, _ in log] == ["begin", "end"] * 9, "never two jobs on the device"
    places = sorted(jobs, key=lambda job: service.view(job.id).started)
    assert [job.id for job in places] == [name for word, name in log[2:] if word == "begin"]


# --- the device lock: exclusive between threads and processes, free when its holder is gone


HOLD = """
import sys, time
from pathlib import Path
from editor.jobs.perform import device_lock
with device_lock(Path(sys.argv[1]), lambda: False):
    sys.stdout.write("held\\n"); sys.stdout.flush()
    time.sleep(600)
"""


def taken(path):
    """Whether somebody holds the lock: waiting for it is given up at once."""
    try:
        with device_lock(path, lambda: True):
            return False
    except Cancelled:
        return True


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "device.lock"
    with device_lock(path, lambda: False):
        assert taken(path)
        assert not taken(tmp_path / "other.lock")
    assert not taken(path)


def test_an_error_frees_it(tmp_path):
    path = tmp_path / "device.lock"
    with pytest.raises(KeyError), device_lock(path, lambda: False):
        raise KeyError
    assert not taken(path)


def test_a_killed_process_frees_it(tmp_path):
    path = tmp_path / "device.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    assert taken(path)
    process.kill()
    process.wait()
    process.stdout.close()
    assert not taken(path)
