"""A running app as programs and agents see it: its API through gradio_client, MCP and plain HTTP; health; files."""

import asyncio
import json
import sys
import time

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from editor.events import EditError
from editor.jobs import JobService
from editor.request import EditRequest
from editor.settings import Settings
from editor.web.api import NAMES
from editor.web.app import WebApp
from tests.web.serving import ENGINE, SOURCE, TARGET, WAITING, serving


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


class Agent:
    """A client of the tools, of the kind that agents have; each call is a session of its own."""

    def __init__(self, url, **headers):
        self.url, self.headers = f"{url}/gradio_api/mcp", headers

    def __call__(self, tool, **arguments):
        """A tool's answer; its error is raised in its words."""
        answer = self.ask(lambda session: session.call_tool(tool, arguments))
        if answer.isError:
            raise AppError(answer.content[0].text)
        assert json.loads(answer.content[0].text) == answer.structuredContent
        return answer.structuredContent

    def tools(self):
        return {tool.name: tool for tool in self.ask(lambda session: session.list_tools()).tools}

    def ask(self, question):
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async def once():
            async with (
                httpx.AsyncClient(headers=self.headers, timeout=60) as http,
                streamable_http_client(self.url, http_client=http) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                return await question(session)

        return asyncio.run(once())


@pytest.fixture(scope="module")
def agents_app(tmp_path_factory):
    pytest.importorskip("mcp", reason="mcp is not installed: pip install -r requirements-mcp.txt")
    with serving(tmp_path_factory.mktemp("agents"), mcp="on", trusted_proxies=("127.0.0.1",)) as app:
        yield app


@pytest.fixture(scope="module")
def agent(agents_app):
    return Agent(agents_app.url)


def wait(agent, job):
    deadline = time.monotonic() + 120
    while not (told := agent("follow", job=job))["final"]:
        assert time.monotonic() < deadline
    return told


def test_the_tools_are_the_named_endpoints_typed_and_explained(agent, agents_app):
    tools = agent.tools()
    assert tuple(tools) == NAMES, "the page's own events are none"
    for tool in tools.values():
        assert len(tool.description) > 40 and tool.outputSchema["type"] == "object"
        arguments = tool.inputSchema["properties"]
        assert all(given["description"] and ("type" in given or "enum" in given) for given in arguments.values())
    arguments = tools["submit"].inputSchema["properties"]
    assert arguments["targets"]["items"] == {"type": "string"} and set(arguments["preset"]["enum"]) >= {
        "fast",
        "balanced",
    }
    assert f"square ({SOURCE})" in arguments["clip"]["description"]
    assert f"{agents_app.url}/gradio_api/upload" in arguments["clip"]["description"]
    options = arguments["options"]["properties"]
    assert options["steps"] == {"type": "integer", "minimum": 1, "maximum": 200, "description": "Denoising steps."}
    assert options["model"]["enum"] == ["demo"]
    assert tools["submit"].inputSchema["required"] == ["clip", "source", "targets"]


def test_an_agent_edits_an_example_and_fetches_the_result(agent, agents_app):
    started = agent("submit", clip="square", source=SOURCE, targets=[TARGET], preset="fast", options={"steps": 4})
    assert started["link"] == f"{agents_app.url}/?job={started['job']}"
    assert wait(agent, started["job"])["state"] == "done"
    (files,) = agent("result", job=started["job"])["results"]
    assert files["target"] == TARGET and httpx.get(files["edited"]).content[4:8] == b"ftyp"
    manifest = httpx.get(files["manifest"]).json()["request"]
    assert (manifest["steps"], manifest["preset"], manifest["model"]) == (4, "fast", "demo")
    assert all(httpx.get(files[name]).status_code == 200 for name in ("side_by_side", "poster"))


def test_an_agent_uploads_a_clip_of_its_own_and_may_use_it_once(agent, agents_app):
    sent = httpx.post(
        f"{agents_app.url}/gradio_api/upload", files={"files": ("clip.mp4", agents_app.clip.read_bytes())}
    )
    (path,) = sent.json()
    asked = {"clip": path, "source": SOURCE, "targets": [TARGET], "options": {"steps": 4}}
    assert wait(agent, agent("submit", **asked)["job"])["state"] == "done"
    with pytest.raises(AppError, match="There is no clip"):
        agent("submit", **asked)


@pytest.mark.parametrize(
    "clip",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/a.mp4",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:video/mp4;base64,AAAA",
        "../square",
        "a\0b",
        "",
    ],
)
def test_what_is_neither_an_upload_nor_an_example_is_no_clip(agent, clip):
    with pytest.raises(AppError, match=r"There is no clip .*name of an example: square"):
        agent("submit", clip=clip, source=SOURCE, targets=[TARGET])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "best"}, "'best' is not one of"),
        ({"targets": TARGET}, "is not of type 'array'"),
        ({"colour": "red"}, "'colour' was unexpected"),
        ({"targets": []}, "what the clip should show instead"),
        ({"options": {"colour": "red"}}, "Unknown option colour"),
        ({"options": {"steps": 0}}, "0 is less than the minimum of 1"),
        ({"options": {"targets": ["x"]}}, "cannot be among the options"),
        ({"options": {"start": 100.0}}, "begins at 100 s"),
    ],
)
def test_what_an_agent_cannot_do_is_said(agent, changes, said):
    with pytest.raises(AppError, match=said):
        agent("submit", **{"clip": "square", "source": SOURCE, "targets": [TARGET], **changes})


def test_an_agent_stops_only_what_it_started(agent, agents_app):
    started = agent("submit", clip="square", source=SOURCE, targets=[WAITING])
    assert agent("follow", job=started["job"], seconds=0)["final"] is False
    with pytest.raises(AppError, match="has no result"):
        agent("result", job=started["job"])
    with pytest.raises(AppError, match=r"owner|made|started"):
        agent("cancel", job=started["job"], owner="x" * 40)
    agent("cancel", job=started["job"], owner=started["owner"])
    assert wait(agent, started["job"])["state"] == "cancelled"
    with pytest.raises(AppError, match=r"no such edit|not here|unknown|no longer"):
        agent("follow", job="0" * 32)
    with pytest.raises(AppError, match="There is no tool 'compute'"):
        agent("compute")


def test_agents_are_counted_by_the_address_they_come_from(agents_app):
    """As every program is: one visitor for each address, here as a proxy tells of them."""
    first, second = (Agent(agents_app.url, **{"X-Forwarded-For": peer}) for peer in ("192.0.2.1", "192.0.2.2"))
    asked = {"clip": "square", "source": SOURCE, "targets": [WAITING]}
    mine = [first("submit", **asked) for _ in range(agents_app.app.settings.jobs_per_visitor)]
    with pytest.raises(AppError, match=str(agents_app.app.settings.jobs_per_visitor)):
        first("submit", **asked)
    mine.append(second("submit", **asked))
    for started in mine:
        first("cancel", job=started["job"], owner=started["owner"])


def test_what_is_no_message_is_refused_and_fills_no_log(agents_app, caplog):
    accept = {"Accept": "application/json, text/event-stream"}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"arguments": {"secret": "of a visitor"}}}
    for message in (call, {**call, "params": {"name": "x\ny"}}, {"method": "secret"}, {**call, "method": "no/such"}):
        answer = httpx.post(f"{agents_app.url}/gradio_api/mcp", json=message, headers=accept)
        assert answer.status_code in (200, 400) and ("error" in answer.text or "There is no tool" in answer.text)
    assert httpx.get(f"{agents_app.url}/gradio_api/mcp", headers=accept).status_code == 405
    assert [record.message for record in caplog.records if "httpx" not in record.name] == []


def test_without_the_setting_there_are_no_tools(served):
    assert httpx.post(f"{served.url}/gradio_api/mcp", json={}).status_code == 404


def test_tools_that_cannot_be_are_refused_at_the_start(tmp_path, monkeypatch):
    def build(name, **settings):
        service = JobService(Settings(data=tmp_path / name, mcp="on", **settings), engine=ENGINE)
        try:
            WebApp(service, examples=tmp_path)
        finally:
            service.stop()

    monkeypatch.setitem(sys.modules, "mcp.server.lowlevel", None)
    with pytest.raises(EditError, match=r"'mcp[a-z.]*' is not installed.*pip install -r requirements-mcp.txt"):
        build("missing")
    pytest.importorskip("spaces", reason="spaces is not installed: pip install spaces")
    with pytest.raises(EditError, match="an agent is lent none"):
        build("lent", executor="zerogpu")
