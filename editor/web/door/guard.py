"""The guard in front of the page: an ASGI middleware that passes on what the app uses and answers the rest itself.

It bounds every body before Gradio reads it, refuses addresses and non-finite numbers hidden in JSON, and serves
`/healthz` and the files of jobs from its own handlers. Routes stand in `editor.web.door.routes`.
"""

import json
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from editor.web.door.routes import API, Rule, rule_for

MAX_JSON_BYTES = 256 * 1024
MAX_JSON_DEPTH = 32
FORM_OVERHEAD_BYTES = 64 * 1024
"""Room for the multipart borders and headers around an upload of the largest size allowed."""

Handler = Callable[[Request, dict[str, str]], Awaitable[Response]]


@dataclass(frozen=True)
class Refusal(Exception):
    """An answer the guard gives instead of the app."""

    status: int
    message: str


class Guard:
    """ASGI middleware. `run_names` and `call_names` are the event names open to direct posts."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        upload_bytes: int,
        run_names: Collection[str],
        call_names: Collection[str],
        handlers: dict[str, Handler],
    ) -> None:
        self.app = app
        self.upload_bytes = upload_bytes
        self.run_names = frozenset(run_names)
        self.call_names = frozenset(call_names)
        self.handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the app speaks no websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        try:
            await self._answer(scope, receive, send)
        except Refusal as refusal:
            # The body may be unread: close, so that the rest of it is not taken for the next request.
            answer = JSONResponse({"error": refusal.message}, refusal.status, headers={"connection": "close"})
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _local_path(scope)
        rule, values = rule_for(scope["method"], path)
        if rule is Rule.OURS:
            response = await self.handlers[path.split("/")[1]](Request(scope, receive), values)
            await response(scope, receive, send)
            return
        if rule is Rule.CLOSED:
            raise Refusal(404, "There is nothing at this address.")
        if rule is Rule.JSON:
            self._check_name(path, values)
            receive = await _checked_json(scope, receive)
        elif rule is Rule.UPLOAD:
            self._check_upload(scope)
        elif "path_or_url" in values:
            _check_file_address(values["path_or_url"])
        await self.app(scope, receive, send)

    def _check_name(self, path: str, values: dict[str, str]) -> None:
        if "api_name" not in values:
            return
        allowed = self.run_names if path.startswith(f"{API}/run/") else self.call_names
        if values["api_name"] not in allowed:
            raise Refusal(404, "There is no such function.")

    def _check_upload(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise Refusal(415, "Uploads must be sent as multipart/form-data.")
        if _length(headers) > self.upload_bytes + FORM_OVERHEAD_BYTES:
            raise Refusal(413, f"The file is too large. The limit is {self.upload_bytes // 1_000_000} MB.")


def _local_path(scope: Scope) -> str:
    """The request path below the address the app is mounted at."""
    root = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _length(headers: Headers) -> int:
    """The declared body length; a body without one is refused, because nothing else bounds it."""
    declared = headers.get("content-length", "")
    if "transfer-encoding" in headers or not declared:
        raise Refusal(411, "Send the length of the body (Content-Length).")
    if not (declared.isascii() and declared.isdigit()):
        raise Refusal(400, "The length of the body is not a number.")
    return int(declared)


async def _checked_json(scope: Scope, receive: Receive) -> Receive:
    """Read and check a JSON body; return a `receive` that hands the same bytes to the app."""
    if _length(Headers(scope=scope)) > MAX_JSON_BYTES:
        raise Refusal(413, f"The request is too large. The limit is {MAX_JSON_BYTES // 1024} kB.")
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The request was cut short.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_JSON_BYTES:
            raise Refusal(413, f"The request is too large. The limit is {MAX_JSON_BYTES // 1024} kB.")
    _check_value(_parsed(bytes(body)))
    return _replay(bytes(body), receive)


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        value = json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Refusal(400, "The request is not valid JSON.") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The request must be a JSON object.")
    return value


def _refuse_constant(name: str) -> None:
    raise Refusal(400, f"{name} is not a valid number.")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):  # 1e999 is valid JSON
        raise Refusal(400, f"{text[:20]} is too large.")
    return value


def _check_value(value: Any, depth: int = 0) -> None:  # noqa: ANN401 - any JSON value
    """Refuse nesting beyond any honest request, and file paths that are addresses."""
    if depth > MAX_JSON_DEPTH:
        raise Refusal(400, "The request is nested too deeply.")
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "path" and isinstance(item, str):
                _check_file_address(item)
            _check_value(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_value(item, depth + 1)


def _check_file_address(path: str) -> None:
    """A file is one that was uploaded here: no scheme, no network share, no NUL."""
    plain = path.replace("\\", "/").strip()
    if "://" in plain or plain.startswith("//") or "\0" in plain or plain.lower().startswith(("http:", "https:")):
        raise Refusal(400, "Upload the file first: web addresses are not fetched.")


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()  # what is left to hear is the disconnect
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    """Add what every answer carries. A job's address is its only key, so it must not leave as a referrer."""

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
        await send(message)

    return sender
