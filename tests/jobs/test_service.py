"""The service as the page uses it; the fake engine computes in a thread of this process."""

import asyncio
import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from editor import cli
from editor.events import EditError, Stage
from editor.jobs import JobService, JobState, UnknownJob, as_allowed, files, intake, new_secret
from editor.request import EditRequest
from editor.settings import Settings
from tests.jobs.conftest import QUICK, asking, settings_in, wait_for, wait_until


def followed(service, job, owner=None):
    async def collect():
        return [view async for view in service.follow(job.id, owner)]

    return asyncio.run(collect())


def test_a_job_from_submit_to_result(house):
    service = house.inline()
    owner = new_secret()
    job = house.submit(service, "steps=3", owner, targets=("a blue car", "a car in snow"))
    assert (job.state, job.position, job.mine) == (JobState.QUEUED, 1, True)
    assert EditRequest.from_dict(job.request) == asking("steps=3", targets=("a blue car", "a car in snow"))
    assert job.clip.read_bytes() == house.raw.read_bytes()
    with pytest.raises(EditError, match="no result: it is queued"):
        service.result(job.id)
    service.start()
    done = wait_until(service, job, JobState.DONE)
    assert [r.target for r in service.result(job.id)] == ["a blue car", "a car in snow"]
    assert done.results[0].summary["psnr"] == 30.5
    assert all(r.edited.is_file() and r.manifest.is_file() for r in done.results)
    assert done.created <= done.started <= done.ended
    assert (done.stage, done.position, done.error) == (Stage.WRITE, None, None)
    assert done.preview_version == 3 and done.preview.read_bytes()[8:12] == b"WEBP"
    kept = sorted(p.name for p in files.job_folder(house.data, job.id).iterdir())
    assert kept == ["clip.mp4", "preview.webp", "run-1"], "nothing half-made stays"


def test_follow_shows_every_state_and_ends(house):
    service = house.inline()
    job = house.submit(service, "steps=4 gate")
    views = []

    async def look():
        async for view in service.follow(job.id):
            views.append(view)
            if view.state is JobState.QUEUED:
                service.start()
            if view.preview_version:
                house.open_gate()

    asyncio.run(look())
    states = list(dict.fromkeys(view.state for view in views))
    assert states == [JobState.QUEUED, JobState.RUNNING, JobState.DONE]
    assert all(a != b for a, b in itertools.pairwise(views)), "only changes are told"
    assert followed(service, job) == [service.view(job.id)], "of a finished job the end is told at once"


def test_who_stops_looking_does_not_stop_the_job(house):
    service = house.inline().start()
    job = house.submit(service, "steps=4 gate")

    async def look_once():
        looking = service.follow(job.id)
        await anext(looking)
        await looking.aclose()

    asyncio.run(look_once())
    house.open_gate()
    wait_until(service, job, JobState.DONE)


def test_following_an_unknown_job_says_so(house):
    service = house.inline()
    with pytest.raises(UnknownJob, match="no such edit"):
        asyncio.run(anext(service.follow("0" * 32)))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("refuse", "^The clip has too few frames.$"),
        ("raise", r"error in the program \(KeyError\)"),
        ("memory", "not enough memory"),
        ("nothing", "without a complete result"),
        ("outside", "without a complete result"),
    ],
)
def test_failures_are_told_in_plain_words(house, source, text):
    service = house.inline().start()
    job = house.submit(service, source)
    failed = wait_until(service, job, JobState.FAILED)
    with pytest.raises(EditError, match=text):
        service.result(job.id)
    assert failed.results == ()
    assert "secret internals" not in failed.error
    folder = files.run_folder(house.data, job.id, 1)
    wait_for(lambda: not folder.exists())  # it goes right after the state is told


def test_a_failure_does_not_disturb_the_next_job(house):
    service = house.inline().start()
    jobs = [house.submit(service, source) for source in ("raise", "steps=2", "refuse", "steps=2")]
    ends = [wait_for(lambda job=job: (now := service.view(job.id)).state.final and now).state for job in jobs]
    assert ends == [JobState.FAILED, JobState.DONE, JobState.FAILED, JobState.DONE]


def test_cancel_while_waiting_and_while_running(house):
    service = house.inline().start()
    owner, other = new_secret(), new_secret()
    running = house.submit(service, "steps=9 gate", owner)
    wait_until(service, running, JobState.RUNNING)
    waiting = house.submit(service, "steps=2", other)
    assert service.view(waiting.id).position == 1
    assert service.cancel(waiting.id, other).state is JobState.CANCELLED
    with pytest.raises(EditError, match="Only the browser"):
        service.cancel(running.id, other)
    service.cancel(running.id, owner)
    ended = wait_until(service, running, JobState.CANCELLED)
    assert ended.results == () and ended.error is None and ended.ended
    assert service.cancel(running.id, owner).state is JobState.CANCELLED, "a second time changes nothing"
    assert house.runs(waiting.id) == 0
    with pytest.raises(EditError, match="it is cancelled"):
        service.result(running.id)


def test_history_delete_and_permalink(house):
    service = house.inline().start()
    owner = new_secret()
    first = house.submit(service, owner=owner)
    wait_until(service, first, JobState.DONE)
    second = house.submit(service, owner=owner)
    wait_until(service, second, JobState.DONE)
    house.submit(service)
    assert [job.id for job in service.history(owner)] == [second.id, first.id]
    assert [job.id for job in service.history(owner, limit=1)] == [second.id]
    assert all(job.mine for job in service.history(owner))
    seen = service.view(first.id)
    assert seen.results and not seen.mine, "whoever has the link may look"
    service.delete(first.id, owner)
    assert not files.job_folder(house.data, first.id).exists()
    assert [job.id for job in service.history(owner)] == [second.id]


def test_edit_again_reuses_the_clip_byte_for_byte(house):
    service = house.inline().start()
    first = house.submit(service)
    again = service.submit_again(first.id, asking("steps=2"), new_secret())
    assert again.id != first.id
    assert again.clip.read_bytes() == first.clip.read_bytes()
    wait_until(service, again, JobState.DONE)
    with pytest.raises(UnknownJob):
        service.submit_again("0" * 32, asking(), new_secret())


def test_the_clip_of_a_reused_job_outlives_it(house):
    service = house.inline()
    owner = new_secret()
    first = house.submit(service, owner=owner)
    again = service.submit_again(first.id, asking("steps=2"), new_secret())
    service.delete(first.id, owner)
    service.start()
    wait_until(service, again, JobState.DONE)


def refused(house, text, request=None, owner=None, **settings):
    service = house.inline(**settings)
    with pytest.raises(EditError, match=text):
        service.submit(house.raw, request or asking(), new_secret() if owner is None else owner, "10.0.0.1")
    assert list((house.data / "jobs").iterdir()) == [], "a refused upload leaves nothing behind"
    assert service.health().queued == 0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"source": " "}, "Say what the clip shows"),
        ({"source": "x" * 1001}, "source has 1001 characters; up to 1000"),
        ({"targets": ("x" * 1001,)}, "target 1 has 1001 characters"),
        ({"targets": (["a"],)}, "target 1 must be text"),
        ({"targets": ("a",) * 5}, "5 target prompts were asked for; this server allows up to 4"),
        ({"steps": 101}, "101 steps were asked for; this server allows up to 100"),
        ({"model": "/etc"}, "The model '/etc' is not offered here. Models: demo."),
        ({"model": "org/some-model"}, "The model 'org/some-model' is not offered here. Models: demo."),
        ({"vae": "/etc/passwd"}, "Another VAE cannot be chosen here: leave vae empty."),
        ({"loras": {"/etc/passwd": 1.0}}, "The LoRA '/etc/passwd' is not offered here. LoRAs: neon."),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
    ],
)
def test_unusable_requests_are_refused_at_once(house, values, text):
    refused(house, text, dataclasses.replace(asking(), **values))


def test_more_keyframes_than_are_allowed_are_refused_and_an_open_number_is_theirs(house):
    refused(
        house,
        "65 keyframes .*; this server allows up to 64",
        dataclasses.replace(asking(), max_frames=65),
        max_frames=64,
    )
    assert as_allowed(asking(), Settings(max_frames=64)).max_frames == 64
    assert as_allowed(asking(), Settings()) == asking()


def test_a_secret_that_is_none_is_refused(house):
    refused(house, "owner's secret", owner="short")


def test_a_full_disk_takes_no_jobs(house):
    refused(house, "disk is nearly full", disk_floor_mb=10**12)
    service = house.inline(disk_floor_mb=10**12)
    assert not service.health().accepting


def test_uploads_are_normalised_before_they_wait(house):
    """With the real intake: a file that is no video is refused by `submit` itself, and leaves no trace."""
    service = JobService(settings_in(house.data), "tests.jobs.fake_engine:run", timing=QUICK)
    owner = new_secret()
    house.raw.write_bytes(b"#EXTM3U\n/etc/passwd\n" * 10)
    with pytest.raises(EditError, match="not a video"):
        service.submit(house.raw, asking(), owner)
    assert list((house.data / "jobs").iterdir()) == []
    make_clip(house.raw)
    with pytest.raises(EditError, match=r"begins at 5 s, but the clip is"):
        service.submit(house.raw, asking(start=5.0), owner)
    job = service.submit(house.raw, asking(), owner)
    assert job.clip.read_bytes()[4:8] == b"ftyp"
    assert [p.name for p in job.clip.parent.iterdir()] == ["clip.mp4"], "the raw upload is not kept"
    with pytest.raises(EditError, match=r"begins at 5 s"):
        service.submit_again(job.id, asking(start=5.0), new_secret())
    for again in (
        service.submit_again(job.id, asking(), new_secret()),
        service.submit_normalised(job.clip, asking(), new_secret()),
    ):
        assert again.clip.read_bytes() == job.clip.read_bytes()
    with pytest.raises(EditError, match="has been deleted"):
        service.submit_normalised(house.data / "gone.mp4", asking(), new_secret())
    service.stop()


def make_clip(path):
    import subprocess

    from editor.media import ffmpeg_path

    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=8:duration=1"]
    subprocess.run([ffmpeg_path(), "-v", "error", "-y", *source, str(path)], check=True)


def test_jobs_that_wait_survive_a_restart(house):
    before = house.inline()
    jobs = [house.submit(before) for _ in range(3)]
    before.stop()
    after = house.inline().start()
    for job in jobs:
        wait_until(after, job, JobState.DONE)
    assert [name for word, name in house.on_device() if word == "begin"] == [job.id for job in jobs]


def test_a_stopped_service_refuses_and_hands_back(house):
    before = house.inline().start()
    job = house.submit(before, "steps=9 gate")
    wait_until(before, job, JobState.RUNNING)
    wait_for(lambda: house.runs(job.id))
    before.stop()
    with pytest.raises(EditError, match="restarting"):
        house.submit(before)
    with pytest.raises(EditError, match="stopping"):
        before.view(job.id)
    after = house.inline()
    assert after.view(job.id).state is JobState.QUEUED
    house.open_gate()
    after.start()
    wait_until(after, job, JobState.DONE)
    assert house.on_device() == [(word, job.id) for word in ("begin", "end", "begin", "end")]


def test_a_request_of_another_version_fails_in_plain_words(house):
    service = house.inline()
    job = house.submit(service)
    with service.store.database.transaction() as db:
        db.execute("UPDATE jobs SET request = ?", ('{"colour": "blue"}',))
    service.start()
    assert "Unknown option colour" in wait_until(service, job, JobState.FAILED).error


def test_health(house):
    service = house.inline()
    assert not service.health().ok, "it was not started"
    service.start()
    job = house.submit(service, "steps=9 gate")
    house.submit(service)
    wait_until(service, job, JobState.RUNNING)
    health = service.health()
    assert (health.ok, health.worker, health.queued, health.running) == (True, "busy", 1, 1)
    assert health.accepting and health.free_disk_mb > 0 and health.workers[0].heartbeat_age is None


class NobodyThere:
    """The executor of a cluster without nodes."""

    lent, slots = False, ()

    def pulses(self):
        return ()

    def close(self):
        pass


def test_without_any_device_jobs_wait_and_the_server_is_well(house):
    service = house.service(NobodyThere())
    assert not service.health().ok, "it was not started"
    service.start()
    job = house.submit(service)
    health = service.health()
    assert (health.ok, health.worker, health.workers, health.queued) == (True, "absent", (), 1)
    assert (service.view(job.id).devices, service.view(job.id).wait) == (0, None)


def test_an_event_that_lends_the_device_can_run_the_next_job_itself(house):
    service = house.inline()
    assert not service.runner.run_next("device")
    job = house.submit(service)
    assert service.runner.run_next("device")
    assert service.view(job.id).state is JobState.DONE


def test_whoever_runs_it_can_list_show_cancel_retry_and_export(house, monkeypatch, capsys):
    monkeypatch.setenv("EDITOR_DATA", str(house.data))
    assert cli.main(["jobs", "list"]) == 1
    assert "There is no job store in" in capsys.readouterr().err
    service = house.inline()

    def run(*words):
        code = cli.main(["jobs", *words])
        said = capsys.readouterr()
        return said.out.strip() if code == 0 else said.err

    done, failed, waiting = (house.submit(service, source) for source in ("steps=1", "refuse", "steps=2"))
    for _ in range(2):
        service.runner.run_next("device")
    shown = {line.split()[0]: line.split()[1] for line in run("list").splitlines()}
    assert shown == {job.id[:8]: state for job, state in ((waiting, "queued"), (failed, "failed"), (done, "done"))}
    assert run("list", "--state", "done").split()[0] == done.id[:8]
    assert json.loads(run("show", failed.id[:10], "--json"))["error"] == "The clip has too few frames."
    assert "request    {" in run("show", waiting.id)
    assert run("cancel", waiting.id) == f"{waiting.id} cancelled"
    assert "is cancelled already" in run("cancel", waiting.id)
    assert run("retry", waiting.id) == f"{waiting.id} waits at place 1"
    assert "Only failed and cancelled jobs" in run("retry", done.id)
    assert service.runner.run_next("device") and service.view(waiting.id).state is JobState.DONE
    folder = Path(run("export", done.id, "--out", str(house.data / "out")))
    assert (folder / "clip.mp4").read_bytes() == house.raw.read_bytes()
    assert (folder / "0" / "edited.mp4").read_bytes() == service.result(done.id)[0].edited.read_bytes()
    assert json.loads((folder / "job.json").read_text())["state"] == "done"
    assert "exists already" in run("export", done.id, "--out", str(house.data / "out"))
    for name in ("0" * 32, done.id[:7], "%"):
        assert "No job has the id" in run("show", name)
    files.clip(house.data, failed.id).unlink()
    assert "The clip of job" in run("retry", failed.id)


def test_a_running_job_is_stopped_from_outside(house, monkeypatch, capsys):
    monkeypatch.setenv("EDITOR_DATA", str(house.data))
    service = house.inline().start()
    job = house.submit(service, "gate")
    wait_until(service, job, JobState.RUNNING)
    assert cli.main(["jobs", "cancel", job.id]) == 0
    assert "is stopping" in capsys.readouterr().out
    wait_until(service, job, JobState.CANCELLED)


def test_a_follower_hears_when_the_job_is_deleted(house):
    service = house.inline()
    owner = new_secret()
    job = house.submit(service, owner=owner)

    async def look():
        looking = service.follow(job.id)
        assert (await anext(looking)).state is JobState.QUEUED
        service.delete(job.id, owner)
        with pytest.raises(UnknownJob):
            await anext(looking)

    asyncio.run(look())


def test_too_many_uploads_at_once_are_refused(house, monkeypatch):
    monkeypatch.setattr(intake, "_PATIENCE", 0.0)
    service = house.inline()
    service.intake = intake.Intake(service.settings)
    assert service.intake._turn.acquire() and service.intake._turn.acquire()
    with pytest.raises(EditError, match="Many clips are being uploaded"):
        house.submit(service)
    service.intake._turn.release()
    with pytest.raises(EditError, match="not a video"):
        house.submit(service)
    assert service.health().queued == 0
