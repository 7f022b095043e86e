"""The guard's table names every route of the running app, and only those."""

import pytest

from editor.web.door.routes import API, Rule, canonical, rule_for, table


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
