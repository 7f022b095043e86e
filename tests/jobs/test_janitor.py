"""What leaves the disk, in which order, and what never does."""

import os
import time
from dataclasses import replace

import pytest

from editor.jobs import JobState, UnknownJob, files
from editor.jobs.janitor import Janitor, remove_empty_scratch, remove_older
from tests.jobs.conftest import QUICK, asking, settings_in, wait_for, wait_until


def finished(house, service, megabytes=0.0, hours_ago=0.0):
    job = house.submit(service)
    done = wait_until(service, job, JobState.DONE)
    done.results[0].edited.write_bytes(b"\0" * int(megabytes * 1e6))
    with service.store.database.transaction() as db:
        db.execute("UPDATE jobs SET ended = ended - ? WHERE id = ?", (hours_ago * 3600, job.id))
    return job.id


def left(service, jobs):
    """Which of `jobs` still exist, after checking that row and folder agree."""
    found = []
    for job in jobs:
        exists = files.job_folder(service.settings.data, job).exists()
        try:
            service.view(job)
            assert exists
            found.append(job)
        except UnknownJob:
            assert not exists
    return found


def sweep(service, **settings):
    Janitor(service.store, settings_in(service.settings.data, **settings), QUICK).sweep()


def test_results_leave_by_age(house):
    service = house.inline().start()
    old, new = finished(house, service, hours_ago=73), finished(house, service, hours_ago=71)
    sweep(service, keep_hours=72)
    assert left(service, [old, new]) == [new]


def test_results_leave_by_disk_budget_the_oldest_first(house):
    service = house.inline().start()
    jobs = [finished(house, service, megabytes=1, hours_ago=hours) for hours in (2, 4, 1, 3)]
    sweep(service, disk_budget_mb=5)
    assert left(service, jobs) == jobs, "they fit"
    sweep(service, disk_budget_mb=3)
    assert left(service, jobs) == [jobs[0], jobs[2]], "the two oldest went: two of a little over 1 MB fit into 3"
    sweep(service, disk_budget_mb=0)
    assert left(service, jobs) == []


def test_waiting_and_running_jobs_stay_whatever_they_weigh(house):
    service = house.inline().start()
    running = house.submit(service, "steps=9 gate")
    wait_until(service, running, JobState.RUNNING)
    waiting = house.submit(service)
    waiting.clip.write_bytes(b"\0" * 2_000_000)
    sweep(service, disk_budget_mb=1, keep_hours=0)
    assert left(service, [running.id, waiting.id]) == [running.id, waiting.id]
    house.open_gate()
    wait_until(service, waiting, JobState.DONE)


def test_folders_without_a_job_go(house):
    service = house.inline()
    waiting = house.submit(service)
    stray = files.job_folder(house.data, "0" * 32)
    stray.mkdir()
    (stray / "clip.mp4").write_bytes(b"x")
    sweep(service)
    assert not stray.exists()
    assert left(service, [waiting.id]) == [waiting.id]


def test_places_whose_upload_never_finished_are_given_free(house):
    service = house.inline(queue_size=1)
    store = service.store
    with_owner = "x" * 32
    reserved = store.reserve(asking(), with_owner, "", service.settings)
    files.job_folder(house.data, reserved).mkdir()
    sweep(service)
    assert reserved in store.all_ids(), "an upload may take a while"
    with store.database.transaction() as db:
        db.execute("UPDATE jobs SET created = created - ?", (QUICK.reservation + 1,))
    sweep(service)
    assert store.all_ids() == set()
    assert list((house.data / "jobs").iterdir()) == []
    house.submit(service)


def test_temporary_uploads_leave_by_age(house, tmp_path):
    service = house.inline()
    folder = files.temporary_folder(service.settings)
    (folder / "session").mkdir()
    upload = folder / "session" / "upload.bin"
    upload.write_bytes(b"x")
    now = time.time()
    remove_older(folder, now - 60)
    assert upload.exists()
    remove_older(folder, now + 60)
    assert list(folder.iterdir()) == []


def test_a_fresh_copy_of_an_old_file_is_fresh(tmp_path):
    """Gradio copies results with their old modification time to show them."""
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(b"x")
    os.utime(copy, (0, 0))
    remove_older(tmp_path, time.time() - 60)
    assert copy.exists()


def test_links_are_removed_and_never_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x")
    folder = tmp_path / "tmp"
    folder.mkdir()
    (folder / "link").symlink_to(outside, target_is_directory=True)
    remove_older(folder, time.time() + 60)
    assert list(folder.iterdir()) == []
    assert (outside / "kept").exists()


def test_raw_uploads_leave_within_minutes(house):
    service = house.inline()
    service.janitor.timing = replace(QUICK, raw_upload=0.0)
    raw = files.upload_folder(service.settings) / "0a" / "clip.mp4"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"x")
    chosen = files.temporary_folder(service.settings) / "1b" / "clip.mp4"
    chosen.parent.mkdir()
    chosen.write_bytes(b"x")
    time.sleep(0.05)
    service.janitor.sweep()
    assert not raw.exists() and chosen.exists()


def test_empty_folders_of_killed_runs_go_at_the_next_start(tmp_path):
    old, young, used = (tmp_path / f"recast-{name}" for name in ("old", "young", "used"))
    for folder in (old, young, used):
        folder.mkdir()
    (used / "file").touch()
    for folder in (old, used):
        os.utime(folder, (0, 0))
    remove_empty_scratch(tmp_path, time.time() - 60)
    assert not old.exists() and young.exists() and used.exists()


def test_the_janitor_sweeps_when_the_service_starts(house):
    before = house.inline().start()
    old = finished(house, before, hours_ago=1000)
    before.stop()
    after = house.inline().start()
    with pytest.raises(UnknownJob):
        wait_for(lambda: not after.view(old))
