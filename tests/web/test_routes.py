"""The guard's table names every route of the running app, and only those."""

from types import SimpleNamespace

import pytest

from editor.settings import Settings
from editor.web.door.routes import API, Rule, canonical, rule_for, table
from editor.web.door.visitor import job_link, network_address, page_secret


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
    listed = {route for route, rule in table().items() if rule is not Rule.OURS}
    unlisted, outdated = registered - listed, listed - registered
    assert not unlisted, f"Gradio has routes the guard's table does not name; decide about them: {unlisted}"
    assert not outdated, f"the table names routes that are gone: {outdated}"


def test_nothing_of_ours_hides_a_route_of_gradio(served):
    registered = {canonical(*route) for route in routes_of(served.app.blocks.app)}
    assert not registered & {route for route, rule in table().items() if rule is Rule.OURS}


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
        ("POST", f"{API}/upload", Rule.UPLOAD),
        ("PUT", f"{API}/upload", Rule.CLOSED),
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


def asked(peer="127.0.0.1", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(headers=named, client=SimpleNamespace(host=peer))


@pytest.mark.parametrize(
    ("request_", "link"),
    [
        (asked(host="127.0.0.1:7860"), "http://127.0.0.1:7860/?job=abc"),
        (asked(host="localhost:7860", origin="https://abc.gradio.live"), "https://abc.gradio.live/?job=abc"),
        (asked(host="inner", x_forwarded_host="a.org", x_forwarded_proto="https"), "https://a.org/?job=abc"),
        (asked(host="a.org", origin="null"), "http://a.org/?job=abc"),
    ],
)
def test_links_are_as_the_visitor_sees_the_page(request_, link):
    assert job_link("abc", Settings(), request_) == link


def test_a_known_public_address_wins():
    settings = Settings.from_env({"SPACE_HOST": "someone-recast.hf.space"})
    assert job_link("abc", settings, asked(host="10.1.2.3")) == "https://someone-recast.hf.space/?job=abc"


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),  # a visitor who talks to us directly cannot borrow an address
        ("10.0.0.2", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.2", "9.9.9.9, 1.1.1.1, 10.3.3.3", "1.1.1.1"),
        ("10.0.0.2", "nonsense", "10.0.0.2"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("2606:4700::1111", None, "2606:4700::/64"),
    ],
)
def test_the_address_that_limits_count_for(peer, forwarded, counted):
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    assert network_address(asked(peer, **headers)) == counted


def test_the_pages_secret_is_made_once_and_private(tmp_path):
    assert page_secret(tmp_path) == page_secret(tmp_path)
    assert len(page_secret(tmp_path)) >= 32
    assert (tmp_path / "page-secret").stat().st_mode & 0o077 == 0
