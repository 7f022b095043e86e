"""The functions for programs, called through gradio_client and plain HTTP, with a fake engine."""

import json

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
