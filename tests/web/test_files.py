"""The guard's own answers on a running app: health, files of jobs, examples."""

import time

import httpx
import pytest

from editor.request import EditRequest
from tests.web.serving import SOURCE, TARGET


@pytest.fixture(scope="module")
def done(served):
    """The address of a finished job."""
    request = EditRequest.from_preset("fast", source=SOURCE, targets=(TARGET,), steps=4, end=1.0)
    job = served.service.submit(served.clip, request, owner="o" * 40)
    deadline = time.monotonic() + 120  # a worker process starts in seconds, on a busy machine in many
    while not served.service.view(job.id).state.final:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return f"{served.url}/job/{job.id}"


def test_health_tells_what_a_monitor_needs_and_no_more(served):
    answer = httpx.get(f"{served.url}/healthz")
    assert answer.status_code == 200
    assert set(answer.json()) == {"ok", "worker", "queued", "accepting"}
    assert answer.headers["cache-control"] == "no-store"


def test_every_file_that_the_view_names_is_there(done, served):
    view = httpx.get(f"{done}/view.json").json()
    result = view["results"][0]
    kinds = {"edited": "video/mp4", "side_by_side": "video/mp4", "poster": "image/webp", "strip": "image/webp"}
    for name, kind in kinds.items():
        answer = httpx.get(f"{served.url}/{result[name]}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert httpx.get(f"{served.url}/{view['clip']}").headers["content-type"] == "video/mp4"


def test_a_player_can_seek(done):
    answer = httpx.get(f"{done}/clip.mp4", headers={"Range": "bytes=4-7"})
    assert (answer.status_code, answer.content) == (206, b"ftyp")


def test_downloads_get_a_name(done):
    answer = httpx.get(f"{done}/0/edited.mp4?download")
    assert answer.headers["content-disposition"].startswith('attachment; filename="recast-')


def test_videos_are_not_compressed_a_second_time(done):
    answer = httpx.get(f"{done}/0/edited.mp4", headers={"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "name", ["run-1/result-0/edited.mp4", "1/edited.mp4", "0/", "", "jobs.sqlite", "9" * 99 + "/strip.webp"]
)
def test_other_names_are_nothing(done, name):
    assert httpx.get(f"{done}/{name}").status_code == 404


def test_the_speed_was_learned_from_the_finished_job(done, served):
    httpx.get(f"{done}/view.json")
    assert "demo@own" in (served.app.settings.data / "pace.json").read_text()


def test_examples_have_a_clip_and_a_poster(served):
    assert httpx.get(f"{served.url}/example/0.mp4").headers["content-type"] == "video/mp4"
    assert httpx.get(f"{served.url}/example/0.webp").content[8:12] == b"WEBP"
    assert httpx.get(f"{served.url}/example/1.webp").status_code == 404
    assert httpx.get(f"{served.url}/example/0.exe").status_code == 404
