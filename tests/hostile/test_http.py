"""Hostile requests against a running app: refused in plain words, nothing else opened, the server alive after."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from editor.web.door.routes import API
from tests.web.serving import SOURCE, TARGET, serving

SECRET = "the-secret-of-the-machine"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("hostile"), max_upload_mb=1) as app:
        (app.app.settings.data / "private.txt").write_text(SECRET)
        yield app


@pytest.fixture(autouse=True)
def alive_after(served):
    yield
    assert httpx.get(f"{served.url}/healthz", timeout=30).json()["ok"] is True


def json_of(size):
    return b'{"data": ["' + b"x" * size + b'"]}'


def raw(served, data: bytes) -> bytes:
    """Send bytes as they are, and read until the server closes or falls silent."""
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as wire:
        wire.sendall(data)
        wire.settimeout(10)
        heard = b""
        try:
            while piece := wire.recv(65536):
                heard += piece
                if b"\r\n\r\n" in heard and len(heard) > 20_000:
                    break
        except (TimeoutError, ConnectionError):  # the server may well hang up
            pass
        return heard


GETS = {
    "the passwords, as a file": f"{API}/file=/etc/passwd",
    "the passwords, upwards": f"{API}/file=../../../../etc/passwd",
    "the passwords, upwards and encoded": f"{API}/file=%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "another server, as a file": f"{API}/file=http://169.254.169.254/latest/meta-data/",
    "another server, encoded": f"{API}/file=http%3A%2F%2F169.254.169.254/",
    "another server, by proxy": f"{API}/proxy=http://127.0.0.1:22/",
    "a network share": f"{API}/file=//attacker/share",
    "the old file route": f"{API}/file/etc/passwd",
    "the program's text": "/app.py",
    "static, upwards": "/static/../../../../etc/passwd",
    "static, upwards and encoded": "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "assets, upwards": "/assets/..%2f..%2f..%2fetc/passwd",
    "a job, upwards": "/job/../../etc/passwd",
    "a job's folder, upwards": "/job/..%2f..%2fprivate.txt/view.json",
    "a file of no job": "/job/00000000000000000000000000000000/clip.mp4",
    "an example, upwards": "/example/..%2f..%2fprivate.txt",
    "an example beyond the last": "/example/99999999999999999999.mp4",
    "an example with odd digits": "/example/²٣.mp4",
    "who is logged in": f"{API}/token",
    "the monitoring": "/monitoring/summary",
    "the documentation of routes": "/openapi.json",
    "a deep link": f"{API}/deep_link?session_hash=a",
    "a stream": f"{API}/stream/a/b/c/playlist.m3u8",
    "a component's code": f"{API}/custom_component/a/client/component/index.js",
    "a null in the path": "/job/%00/view.json",
}


@pytest.mark.parametrize("what", GETS)
def test_nothing_is_given_away(served, what):
    answer = httpx.get(served.url + GETS[what], timeout=30)
    assert 400 <= answer.status_code < 500
    assert "root:" not in answer.text and SECRET not in answer.text
    assert "Traceback" not in answer.text and len(answer.text) < 500


PRIVATE = ("private.txt", "jobs.sqlite", "page-secret", "jobs", "tmp")


@pytest.mark.parametrize("name", PRIVATE)
def test_the_data_folder_is_not_served(served, name):
    answer = httpx.get(f"{served.url}{API}/file={served.app.settings.data / name}", timeout=30)
    assert answer.status_code in (403, 404) and SECRET not in answer.text


POSTS = {
    "too much JSON": (f"{API}/queue/join", json_of(300_000), 413),
    "JSON that ends early": (f"{API}/queue/join", b'{"data": [', 400),
    "deep JSON": (f"{API}/queue/join", b"[" * 50_000 + b"]" * 50_000, 400),
    "a number that is none": (f"{API}/run/predict", b'{"data": [NaN], "fn_index": 0}', 400),
    "an infinite number": (f"{API}/run/predict", b'{"data": [1e400], "fn_index": 0}', 400),
    "an address as a clip": (f"{API}/call/submit", b'{"data": [{"path": "http://10.0.0.1/a.mp4"}]}', 400),
    "a share as a clip": (f"{API}/call/submit", b'{"data": [{"path": "\\\\\\\\host\\\\a.mp4"}]}', 400),
    "a function of the page": (f"{API}/call/load", b'{"data": []}', 404),
    "a direct call": (f"{API}/run/submit", b'{"data": []}', 404),
    "a component's server function": (f"{API}/component_server", b"{}", 404),
    "a recording": (f"{API}/process_recording", b"x", 404),
    "a login": ("/login", b"username=a&password=b", 404),
    "code by prompt": (f"{API}/vibe-edit", b"{}", 404),
    "an upload that is no form": (f"{API}/upload", b"\0" * 100, 415),
    "a post to the page": ("/", b"{}", 404),
}


@pytest.mark.parametrize("what", POSTS)
def test_bodies_nobody_needs_are_refused_in_words(served, what):
    path, body, status = POSTS[what]
    answer = httpx.post(served.url + path, content=body, timeout=30)
    assert answer.status_code == status
    assert answer.json()["error"].endswith(".") and "Traceback" not in answer.text


def test_an_upload_over_the_limit_is_refused_before_it_is_kept(served):
    before = set(served.app.settings.data.rglob("*"))
    answer = httpx.post(f"{served.url}{API}/upload", files={"files": ("a.mp4", b"x" * 1_200_000)}, timeout=30)
    assert answer.status_code == 413 and "1 MB" in answer.json()["error"]
    assert set(served.app.settings.data.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["../../evil.mp4", "/etc/cron.d/evil", "a\nb.mp4", "x" * 3000 + ".mp4", ".", "con\\..\\a"]
)
def test_the_name_of_an_upload_chooses_no_place(served, name):
    boundary = "b"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + b"abc" + f"\r\n--{boundary}--\r\n".encode()
    kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
    answer = httpx.post(f"{served.url}{API}/upload", content=body, headers=kind, timeout=30)
    assert answer.status_code < 500 and "Traceback" not in answer.text
    folder = (served.app.settings.data / "tmp").resolve()
    if answer.status_code == 200:
        assert all(Path(path).resolve().is_relative_to(folder) for path in answer.json())


def test_a_form_without_end_is_refused(served):
    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{served.url}{API}/upload", content=b"--b\r\n" * 1000, headers=kind, timeout=30)
    assert 400 <= answer.status_code < 500 and "Traceback" not in answer.text


JOIN = f"POST {API}/queue/join HTTP/1.1\r\nHost: a\r\n".encode()
WIRES = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    "a chunked body without a length": JOIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": JOIN + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "a negative length": JOIN + b"Content-Length: -5\r\n\r\n{}",
    "a length and chunks": JOIN
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /monitoring HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header without end": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "a host with a line break": b"GET /healthz HTTP/1.1\r\nHost: a\r\n b\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("what", WIRES)
def test_broken_wires_break_nothing(served, what):
    heard = raw(served, WIRES[what])
    assert b"Traceback" not in heard and SECRET.encode() not in heard
    assert heard == b"" or heard.startswith(b"HTTP/1.1 4") or b"HTTP/1.1 200" in heard[:20]
    assert b"Gradio" not in heard or what == "a header without end"


def test_a_cut_off_body_is_let_go(served):
    head = f"POST {API}/queue/join HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{{".encode()
    parts = urlsplit(served.url)
    for _ in range(5):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as wire:
            wire.sendall(head)


def test_other_peoples_jobs_cannot_be_stopped_or_deleted(served):
    view = served.service.submit(served.clip, request(), owner="o" * 40)
    for owner in ("", "p" * 40, None, ["o" * 40], {"a": 1}):
        started = httpx.post(f"{served.url}{API}/call/cancel", json={"data": [view.id, owner]}, timeout=30)
        event = started.json()["event_id"]
        heard = httpx.get(f"{served.url}{API}/call/cancel/{event}", timeout=60).text
        assert "event: error" in heard and "Traceback" not in heard
    assert served.service.view(view.id).state != "cancelled"


@pytest.mark.parametrize("job", ["", "../jobs", "x" * 5000, "' OR 1=1 --", "\0", 7, None, ["a"], {"path": "a"}])
def test_names_that_are_no_job_are_unknown(served, job):
    started = httpx.post(f"{served.url}{API}/call/result", json={"data": [job]}, timeout=30)
    event = started.json()["event_id"]
    heard = httpx.get(f"{served.url}{API}/call/result/{event}", timeout=60).text
    assert "event: error" in heard and "Traceback" not in heard and "sqlite" not in heard.lower()


def test_a_page_from_elsewhere_may_not_read_a_local_one(served):
    answer = httpx.get(f"{served.url}/config", headers={"Origin": "https://attacker.example"}, timeout=30)
    assert "access-control-allow-origin" not in answer.headers


def test_a_script_in_a_sentence_stays_a_sentence(served):
    view = served.service.submit(served.clip, request(targets=("<img src=x onerror=alert(1)>",)), owner="s" * 40)
    shown = httpx.get(f"{served.url}/job/{view.id}/view.json", timeout=30).json()
    assert "<img" not in shown["targets"][0]["marked"] and "&lt;img" in shown["targets"][0]["marked"]


def request(targets=(TARGET,)):
    from editor.request import EditRequest

    return EditRequest.from_preset("fast", source=SOURCE, targets=targets, steps=4)
