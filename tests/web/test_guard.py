"""The guard around an app that says what it was given; and its table, which names every route of the real one."""

import asyncio
import json

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from editor.settings import Settings
from editor.web.door.bodies import LARGEST_WHOLE, LONGEST_KEY, LONGEST_TEXT, MAX_JSON_BYTES, MAX_JSON_ITEMS
from editor.web.door.guard import Guard
from editor.web.door.limits import Bounds
from editor.web.door.routes import API, Rule, canonical, rule_for, table
from editor.web.door.visitor import Network


async def echo(scope, receive, send):
    """Answers with the body's length, read as an app would read it."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await JSONResponse({"bytes": len(body)})(scope, receive, send)


async def healthz(request, values):
    return PlainTextResponse("ours")


async def no_tags(request):
    return ""


class QuietEvents:
    """A queue with as many events of one address and of everybody as a test says; the page has one event, number 1."""

    def __init__(self):
        self.count = (0, 0)
        self.waiting = {}
        self.forgotten = []

    def known(self, number):
        return number == 1

    def unread(self, session):
        return self.waiting.get(session, 0)

    def of(self, address):
        return self.count

    def forget(self, session):
        self.forgotten.append(session)


def guard_around(app, events=None, bounds=None, tools=None, **settings):
    return Guard(
        app,
        network=Network(Settings(**{"allowed_hosts": ("page",), **settings})),
        bounds=bounds or Bounds(),
        events=events or QuietEvents(),
        run_names=("predict",),
        call_names=("submit",),
        handlers=dict.fromkeys(("healthz", "job", "example", "upload"), healthz),
        tags=no_tags,
        tools=tools,
    )


GUARD = guard_around(echo)


def ask(method, path, guard=GUARD, peer="127.0.0.1", **options):
    async def once():
        transport = httpx.ASGITransport(guard, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, **options)

    return asyncio.run(once())


def post(body, path=f"{API}/queue/join", **options):
    content = body if isinstance(body, bytes) else json.dumps({"fn_index": 1, **body}).encode()
    return ask("POST", path, content=content, **options)


def test_a_good_body_reaches_the_app_whole():
    body = json.dumps({"fn_index": 1, "data": ["x" * 10_000] * 10}).encode()
    assert post(body).json() == {"bytes": len(body)}


@pytest.mark.parametrize(
    "path", ["/openapi.json", f"{API}/proxy=http://10.0.0.1", "/nothing", f"{API}/component_server"]
)
def test_closed_routes_say_so(path):
    answer = ask("GET", path)
    assert (answer.status_code, answer.json()["error"]) == (404, "There is nothing at this address.")


def test_the_guards_own_routes_are_answered_by_its_handlers():
    assert ask("GET", "/healthz").text == "ours"


@pytest.mark.parametrize(("name", "status"), [("predict", 200), ("submit", 404), ("load", 404), ("12", 404)])
def test_only_the_pages_own_posts_are_open(name, status):
    assert post({}, f"{API}/run/{name}").status_code == status


@pytest.mark.parametrize(("name", "status"), [("submit", 200), ("predict", 404), ("secret", 404)])
def test_only_the_promised_functions_can_be_called(name, status):
    assert post({}, f"{API}/call/{name}").status_code == status
    assert post({}, f"{API}/call/v2/{name}").status_code == status


def test_a_body_without_a_length_is_refused():
    async def chunks():
        yield b"{}"

    assert ask("POST", f"{API}/queue/join", content=chunks()).status_code == 411


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "²"])
def test_a_length_that_is_no_number_is_refused(length):
    headers = [(b"content-length", length.encode())]
    assert ask("POST", f"{API}/queue/join", content=b"{}", headers=headers).status_code == 400


def test_size_is_bounded_by_what_is_declared_and_by_what_comes():
    assert post(b" " * (MAX_JSON_BYTES + 1)).status_code == 413
    understated = ask(
        "POST", f"{API}/queue/join", content=b" " * (MAX_JSON_BYTES + 1), headers={"content-length": "10"}
    )
    assert understated.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b'{"data": [NaN]}',
        b'{"data": [Infinity]}',
        b'{"data": [-Infinity]}',
        b'{"data": [1e999]}',
        b'{"data": [' + b"9" * 5000 + b"]}",
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"data": ["\\ud800"]}',
        b'{"\\udfff": 1}',
        json.dumps({"k" * (LONGEST_KEY + 1): 1}).encode(),
        json.dumps({"data": "x" * (LONGEST_TEXT + 1)}).encode(),
        json.dumps({"data": [0] * MAX_JSON_ITEMS}).encode(),
        json.dumps({"data": LARGEST_WHOLE + 1}).encode(),
        b'{"data": [1' + b"0" * 400 + b"]}",
        b"[" * 100_000,
    ],
)
def test_json_that_no_page_sends_is_refused(body):
    assert post(body).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/a.mp4",
        "file:///etc/passwd",
        "//share/file",
        "\\\\share\\file",
        "http:/example.org",
        "/tmp/a\0b",
        " //share",
    ],
)
def test_addresses_in_the_place_of_files_are_refused(path):
    assert post({"data": [[{"deep": {"path": path}}]]}).status_code == 400
    fetched = path.replace("\0", "%00").replace(" ", "%20")
    assert ask("GET", f"{API}/file={fetched}").status_code == 400


def test_an_uploaded_path_is_no_address():
    assert post({"data": [{"path": "/data/tmp/0a1b/clip.mp4"}]}).status_code == 200


def test_every_answer_forbids_sniffing_and_keeps_job_addresses_at_home():
    for answer in (ask("GET", "/"), ask("GET", "/healthz"), ask("GET", "/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_a_refused_body_closes_the_connection():
    assert post(b"{").headers["connection"] == "close"


def test_websockets_are_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(GUARD({"type": "websocket", "path": "/"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_a_mounted_app_is_guarded_below_its_root():
    async def once():
        transport = httpx.ASGITransport(GUARD, root_path="/recast")
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.get("/recast/healthz"), await client.get("/recast/openapi.json")

    ours, closed = asyncio.run(once())
    assert (ours.text, closed.status_code) == ("ours", 404)


def test_tools_for_agents_open_one_address_and_no_other():
    on = guard_around(JSONResponse({}), tools=JSONResponse({"from": "tools"}))
    body = {"content": b'{"fn_index": 1}'}

    def answers(guard):
        paths = {(method, path.replace("{", "").replace("}", "").replace(":path", "")) for method, path in table()}
        asked = {(m, p): ask(m, p, guard, **(body if m == "POST" else {})) for m, p in paths}
        return {route: (answer.status_code, answer.text) for route, answer in asked.items()}

    with_tools, without = answers(on), answers(guard_around(JSONResponse({})))
    changed = {route: with_tools[route] for route in without if with_tools[route] != without[route]}
    assert changed.pop(("POST", f"{API}/mcp")) == (200, '{"from":"tools"}')
    assert {route: status for route, (status, _) in changed.items()} == {
        ("GET", f"{API}/mcp"): 405,
        ("DELETE", f"{API}/mcp"): 405,
    }
    assert all(without[method, f"{API}/mcp"][0] == 404 for method in ("POST", "GET", "DELETE"))


def test_messages_of_agents_are_bounded_like_events():
    mcp = f"{API}/mcp"

    async def slow(scope, receive, send):
        await asyncio.sleep(0.2)
        await JSONResponse({})(scope, receive, send)

    async def at_once(guard, *peers):
        async def once(peer):
            transport = httpx.ASGITransport(guard, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                return (await client.post(mcp, content=b"{}")).status_code

        return await asyncio.gather(*map(once, peers))

    few = guard_around(echo, tools=slow, bounds=Bounds(at_once=2, waiting=1))
    assert sorted(asyncio.run(at_once(few, *["10.0.0.1"] * 4))) == [200, 200, 200, 429]
    crowd = guard_around(echo, tools=slow, bounds=Bounds(events=2))
    assert sorted(asyncio.run(at_once(crowd, "10.0.0.1", "10.0.0.2", "10.0.0.3"))) == [200, 200, 503]
    assert crowd.under_way == 0
    failing = guard_around(echo, tools=JSONResponse({}, 400), bounds=Bounds(failures=2))
    assert [post({}, mcp, guard=failing).status_code for _ in range(3)] == [400, 400, 429]
    taking = guard_around(echo, tools=echo)
    assert post(b" " * (MAX_JSON_BYTES + 1), mcp, guard=taking).status_code == 413
    assert post(b"[]", mcp, guard=taking).status_code == post(b'{"a": NaN}', mcp, guard=taking).status_code == 400
    foreign = {"headers": {"origin": "https://elsewhere.example"}}
    assert post({}, mcp, guard=taking, **foreign).status_code == 403


def routes_of(app):
    """(method, path) of everything the app answers, included routers opened."""
    for route in app.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        else:
            yield from ((method, route.path) for method in route.methods)


def test_the_table_is_complete_and_has_nothing_of_the_past(served):
    registered = {canonical(*route) for route in routes_of(served.app.blocks.app)}
    listed = {route for route, rule in table().items() if rule not in (Rule.OURS, Rule.TOOLS)}
    unlisted, outdated = registered - listed, listed - registered
    assert not unlisted, f"Gradio has routes the guard's table does not name; decide about them: {unlisted}"
    assert not outdated, f"the table names routes that are gone: {outdated}"


def test_nothing_of_ours_hides_a_route_of_gradio(served):
    registered = {canonical(*route) for route in routes_of(served.app.blocks.app)}
    assert not registered & {route for route, rule in table().items() if rule in (Rule.OURS, Rule.TOOLS)}
    assert registered >= {route for route, rule in table().items() if rule is Rule.REPLACED}


@pytest.mark.parametrize(
    ("method", "path", "rule"),
    [
        ("GET", "/", Rule.OPEN),
        ("HEAD", "/", Rule.OPEN),
        ("POST", "/", Rule.CLOSED),
        ("GET", "/config/", Rule.OPEN),
        ("GET", f"{API}/file=/tmp/a.mp4", Rule.OPEN),
        ("GET", f"{API}/file/tmp/a.mp4", Rule.CLOSED),
        ("GET", f"{API}/proxy=https://example.org/", Rule.CLOSED),
        ("GET", f"{API}/call/submit/abc", Rule.OPEN),
        ("GET", f"{API}/call/v2/submit/abc", Rule.OPEN),
        ("POST", f"{API}/call/submit", Rule.JSON),
        ("POST", f"{API}/call/v2/submit", Rule.JSON),
        ("POST", f"{API}/api/submit", Rule.CLOSED),
        ("POST", f"{API}/run/predict/", Rule.JSON),
        ("POST", f"{API}/upload", Rule.REPLACED),
        ("PUT", f"{API}/upload", Rule.CLOSED),
        ("POST", f"{API}/mcp", Rule.TOOLS),
        ("POST", f"{API}/mcp/", Rule.TOOLS),
        ("GET", f"{API}/mcp/sse", Rule.CLOSED),
        ("GET", f"{API}/mcp/schema", Rule.CLOSED),
        ("GET", "/healthz", Rule.OURS),
        ("GET", "/job/abc/view.json", Rule.OURS),
        ("DELETE", "/job/abc/view.json", Rule.CLOSED),
        ("GET", "/monitoring/abc", Rule.CLOSED),
        ("GET", "/new-route-of-tomorrow", Rule.CLOSED),
        ("GET", "/config\n", Rule.CLOSED),
    ],
)
def test_requests_fall_under_the_right_rule(method, path, rule):
    assert rule_for(method, path)[0] is rule
