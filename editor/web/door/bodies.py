"""Request bodies before anybody else sees them: bounded in length and time, and as JSON only what a page would send."""

import asyncio
import json
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from editor.web.door.limits import Bounds, Refusal

MAX_JSON_BYTES = 256 * 1024
MAX_JSON_DEPTH = 32
MAX_JSON_ITEMS = 5_000
LONGEST_TEXT = 10_000
"""Characters of any one text. Sentences are bounded more tightly where they are read."""
LONGEST_KEY = 200
LARGEST_WHOLE = 2**53
"""Beyond it a number of a web page is not exact."""


def declared_length(headers: Headers) -> int:
    """The declared body length; a body without one is refused, because nothing else bounds it."""
    declared = headers.get("content-length", "")
    if "transfer-encoding" in headers or not declared:
        raise Refusal(411, "Send the length of the body (Content-Length).")
    if not (declared.isascii() and declared.isdigit()):
        raise Refusal(400, "The length of the body is not a number.")
    return int(declared[:18])


def punctual(receive: Receive, bounds: Bounds) -> Receive:
    """A `receive` that gives up on a body that pauses or trickles; the time its reader takes does not count."""
    got, waited = 0, 0.0

    async def receiver() -> Message:
        nonlocal got, waited
        begun = time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), bounds.body_silence)
        except TimeoutError:
            raise Refusal(408, "The request stopped arriving. Please send it again.") from None
        waited += time.monotonic() - begun
        got += len(message.get("body", b""))
        if waited > bounds.body_grace and got < waited * bounds.body_rate:
            raise Refusal(408, "The request arrives too slowly. Please try again on a better connection.")
        return message

    return receiver


async def read_json(scope: Scope, receive: Receive) -> tuple[dict[str, Any], Receive]:
    """Read and check a JSON object; return it, and a `receive` that hands the same bytes to the app."""
    too_large = Refusal(413, f"The request is too large. The limit is {MAX_JSON_BYTES // 1024} kB.")
    if declared_length(Headers(scope=scope)) > MAX_JSON_BYTES:
        raise too_large
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The request was cut short.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_JSON_BYTES:
            raise too_large
    value = _parsed(bytes(body))
    _check_value(value)
    return value, _replay(bytes(body), receive)


def check_file_address(path: str) -> None:
    """A file is one that was uploaded here: no scheme, no network share, no NUL."""
    plain = path.replace("\\", "/").strip()
    if "://" in plain or plain.startswith("//") or "\0" in plain or plain.lower().startswith(("http:", "https:")):
        raise Refusal(400, "Upload the file first: addresses are not fetched.")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Refusal(400, "The request is not valid JSON.") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The request must be a JSON object.")
    return value


def _refuse_constant(name: str) -> None:
    raise Refusal(400, f"{name} is not a number that can be used.")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):  # 1e999 is valid JSON
        raise Refusal(400, f"{text[:20]} is too large.")
    return value


def _check_value(whole: dict[str, Any]) -> None:
    """Refuse what is nested deeper, longer, larger or more numerous than any honest request, and broken Unicode."""
    open_values: list[tuple[Any, int]] = [(whole, 0)]
    items = 0
    while open_values:
        value, depth = open_values.pop()
        items += 1
        if depth > MAX_JSON_DEPTH:
            raise Refusal(400, "The request is nested too deeply.")
        if items > MAX_JSON_ITEMS:
            raise Refusal(400, f"The request has too many values. The limit is {MAX_JSON_ITEMS}.")
        if isinstance(value, dict):
            for key, item in value.items():
                _check_text(key, LONGEST_KEY, "A name in the request")
                if key == "path" and isinstance(item, str):
                    check_file_address(item)
                open_values.append((item, depth + 1))
        elif isinstance(value, list):
            open_values += ((item, depth + 1) for item in value)
        elif isinstance(value, str):
            _check_text(value, LONGEST_TEXT, "A text in the request")
        elif isinstance(value, int) and abs(value) > LARGEST_WHOLE:
            raise Refusal(400, "A number in the request is too large. The largest whole number is 2^53.")


def _check_text(text: str, longest: int, what: str) -> None:
    if len(text) > longest:
        raise Refusal(400, f"{what} has {len(text)} characters. The limit is {longest}.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refusal(400, f"{what} is not valid Unicode: it has half of a surrogate pair.") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()  # what is left to hear is the disconnect
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
