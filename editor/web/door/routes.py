"""Every route of the running app, and whether it is answered: the one table the guard reads.

A route that is not in the table is refused. A test compares the table with the routes Gradio registers, so an
upgrade that brings a new one fails there and not in public.
"""

import re
from enum import Enum
from functools import cache

from starlette.routing import compile_path


class Rule(Enum):
    """What the guard does with a request for a route."""

    OPEN = "passed on"
    JSON = "passed on when the body is small, well-formed JSON"
    OURS = "answered by the guard's own handlers"
    REPLACED = "answered by the guard's own handlers in Gradio's place"
    TOOLS = "answered by the tools for agents, or with 404 where they are off"
    CLOSED = "answered with 404"


API = "/gradio_api"

_OPEN = (
    "/",
    "/config",
    "/static/{path:path}",
    "/assets/{path:path}",
    "/theme.css",
    "/favicon.ico",
    "/robots.txt",
    "/manifest.json",
    f"{API}/theme.css",
    f"{API}/app_id",
    f"{API}/info",
    f"{API}/startup-events",
    f"{API}/heartbeat/{{session_hash}}",
    f"{API}/queue/data",
    f"{API}/call/{{api_name}}/{{event_id}}",
    f"{API}/call/v2/{{api_name}}/{{event_id}}",
    f"{API}/upload_progress",
    f"{API}/file={{path_or_url:path}}",
)

_JSON = (
    f"{API}/run/{{api_name}}",
    f"{API}/call/{{api_name}}",
    f"{API}/call/v2/{{api_name}}",
    f"{API}/queue/join",
    f"{API}/cancel",
    f"{API}/reset",
)

_CLOSED = {
    "GET": (
        "/openapi.json",
        "/logout",
        "/svelte/{path:path}",
        f"{API}/deep_link",
        "/pwa_icon/{size}",
        "/pwa_icon",
        "/monitoring",
        "/monitoring/summary",
        "/monitoring/{key}",
        f"{API}/user",
        f"{API}/login_check",
        f"{API}/token",
        f"{API}/dev/reload",
        f"{API}/runs",
        f"{API}/openapi.json",
        f"{API}/custom_component/{{id}}/{{environment}}/{{type}}/{{file_name}}",
        f"{API}/proxy={{url_path:path}}",
        f"{API}/stream/{{session_hash}}/{{run}}/{{component_id}}/playlist.m3u8",
        f"{API}/stream/{{session_hash}}/{{run}}/{{component_id}}/{{segment_id}}.{{ext}}",
        f"{API}/stream/{{session_hash}}/{{run}}/{{component_id}}/playlist-file",
        f"{API}/file/{{path:path}}",
        f"{API}/queue/status",
        f"{API}/vibe-code",
    ),
    "POST": (
        "/login",
        f"{API}/stream/{{event_id}}",
        f"{API}/stream/{{event_id}}/close",
        f"{API}/api/{{api_name}}",
        f"{API}/component_server",
        f"{API}/process_recording",
        f"{API}/vibe-edit",
        f"{API}/undo-vibe-edit",
        f"{API}/vibe-code",
        f"{API}/vibe-starter-queries",
    ),
}

_TOOLS = f"{API}/mcp"
"""Where Gradio would put its own tools, and where clients look for them."""

_OURS = ("/healthz", "/job/{job_id}/{name:path}", "/example/{name}")


def table() -> dict[tuple[str, str], Rule]:
    """(method, path template) -> rule. HEAD follows GET; a trailing slash makes no difference."""
    rules = {("GET", path): Rule.OPEN for path in _OPEN}
    rules |= {("POST", path): Rule.JSON for path in _JSON}
    rules[("POST", f"{API}/upload")] = Rule.REPLACED
    rules |= {("GET", path): Rule.OURS for path in _OURS}
    rules |= {(method, _TOOLS): Rule.TOOLS for method in ("POST", "GET", "DELETE")}
    rules |= {(method, path): Rule.CLOSED for method, paths in _CLOSED.items() for path in paths}
    return rules


def canonical(method: str, path: str) -> tuple[str, str]:
    """The table's key for a route as a framework lists it."""
    return ("GET" if method == "HEAD" else method, path.rstrip("/") or "/")


def rule_for(method: str, path: str) -> tuple[Rule, dict[str, str]]:
    """The rule of a request path (percent-decoded) and the values of the template's fields."""
    method, path = canonical(method, path)
    for (allowed, pattern), rule in _compiled():
        if allowed == method and (match := pattern.fullmatch(path)):
            return rule, match.groupdict()
    return Rule.CLOSED, {}


@cache
def _compiled() -> tuple[tuple[tuple[str, re.Pattern[str]], Rule], ...]:
    # Closed templates first, so that no open one takes a request that is meant to be refused.
    ordered = sorted(table().items(), key=lambda item: item[1] is not Rule.CLOSED)
    return tuple(((method, compile_path(path)[0]), rule) for (method, path), rule in ordered)
