"""A running app as programs see it: its API through gradio_client and plain HTTP, health, files of jobs, examples."""

import json
import time

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from editor.request import EditRequest
from editor.web.api import NAMES
from tests.web.serving import SOURCE, TARGET


@pytest.fixture(scope="module")
def client(served):
    return Client(served.url, verbose=False)


def submit(client, served, targets=(TARGET,), preset="fast", **options):
    return client.predict(
        handle_file(str(served.clip)), SOURCE, list(targets), preset, {"steps": 4, **options}, api_name="/submit"
    )


def test_the_names_are_the_promised_ones_and_every_one_is_described(client):
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {f"/{name}" for name in NAMES}
    assert all(len(entry["description"]) > 40 for entry in described.values())


def test_submit_follow_result(client, served):
    answer = submit(client, served)
    assert answer["link"] == f"{served.url}/?job={answer['job']}"
    seen = list(client.submit(answer["job"], api_name="/follow"))
    assert seen[0]["state"] in ("queued", "running") and seen[-1]["state"] == "done"
    fractions = [view["fraction"] for view in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(view["preview"] for view in seen)
    (result,) = client.predict(answer["job"], api_name="/result")
    assert result["target"] == TARGET
    assert httpx.get(result["edited"]).content[4:8] == b"ftyp"
    assert json.loads(httpx.get(result["manifest"]).text)["request"]["source"] == SOURCE


def test_cancel_needs_the_owner(client, served):
    answer = submit(client, served, targets=["a waiting blue car"], steps=20)
    with pytest.raises(AppError, match=r"owner|made|started"):
        client.predict(answer["job"], "x" * 40, api_name="/cancel")
    client.predict(answer["job"], answer["owner"], api_name="/cancel")
    last = list(client.submit(answer["job"], api_name="/follow"))[-1]
    assert last["state"] == "cancelled"
    with pytest.raises(AppError, match="cancelled"):
        client.predict(answer["job"], api_name="/result")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": []}, "what the clip should show instead"),
        ({"targets": ["  "]}, "what the clip should show instead"),
        ({"preset": "best"}, "There is no preset 'best'. Allowed: "),
        ({"steps": 0}, "steps"),
        ({"colour": "red"}, "Unknown option colour"),
        ({"model": "secret-model"}, "not offered here"),
        ({"start": 100.0}, "begins at 100 s"),
        ({"targets": [TARGET] * 9}, "allows up to 4"),
    ],
)
def test_what_cannot_be_done_is_said(client, served, changes, said):
    with pytest.raises(AppError, match=said):
        submit(client, served, **changes)


def test_the_way_by_curl_works_too(served):
    job = served.service.submit(
        served.clip, EditRequest.from_preset("fast", source=SOURCE, targets=(TARGET,)), "o" * 40
    )
    for path, body in (("call/follow", {"data": [job.id]}), ("call/v2/follow", {"job": job.id})):
        started = httpx.post(f"{served.url}/gradio_api/{path}", json=body, timeout=60)
        heard = httpx.get(f"{served.url}/gradio_api/{path}/{started.json()['event_id']}", timeout=120).text
        assert "event: complete" in heard and '"done"' in heard


def test_unknown_jobs_are_unknown(client):
    for name in ("/result", "/follow"):
        with pytest.raises(AppError):
            client.predict("0" * 32, api_name=name)


def test_a_path_outside_the_uploads_is_no_clip(client, served, tmp_path):
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(served.clip.read_bytes())
    for path in (str(secret), "/etc/passwd", "../../../etc/passwd", str(served.app.settings.data / "jobs.sqlite")):
        body = {"data": [{"path": path}, SOURCE, [TARGET], "fast", {}]}
        started = httpx.post(f"{served.url}/gradio_api/call/submit", json=body)
        heard = httpx.get(f"{served.url}/gradio_api/call/submit/{started.json()['event_id']}", timeout=60).text
        assert "event: error" in heard and "event: complete" not in heard


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
    assert set(answer.json()) == {"ok", "worker", "workers", "queued", "accepting"}
    assert answer.json()["workers"] == [{"device": "device", "state": "idle"}]
    assert answer.headers["cache-control"] == "no-store"


def test_every_file_that_the_view_names_is_there(done, served):
    view = httpx.get(f"{done}/view.json").json()
    result = view["results"][0]
    kinds = {"edited": "video/mp4", "side_by_side": "video/mp4", "poster": "image/webp", "strip": "image/webp"}
    for name, kind in kinds.items():
        answer = httpx.get(f"{served.url}/{result[name]}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert httpx.get(f"{served.url}/{view['clip']}").headers["content-type"] == "video/mp4"


def test_word_maps_are_served_where_they_were_asked_for(done, served):
    result = httpx.get(f"{served.url}/job/{served.finished(word_maps=True)}/view.json").json()["results"][0]
    answer = httpx.get(f"{served.url}/{result['word_maps']}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert [word["text"] for word in result["words"]] == "a red blue car on the road".split()
    assert not {"words", "maps", "word_maps"} & set(httpx.get(f"{done}/view.json").json()["results"][0])
    assert httpx.get(f"{done}/0/word_maps.webp").status_code == 404


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
