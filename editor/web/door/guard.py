"""The guard in front of the page: an ASGI middleware that passes on what the app uses and answers the rest itself.

It decides by route (`editor.web.door.routes`), bounds what one address may take at a time, checks every JSON body
before Gradio reads it, and serves `/healthz`, uploads and the files of jobs from its own handlers.
"""

import json
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from editor.web.door.bodies import check_file_address, punctual, read_json
from editor.web.door.limits import BUSY, CROWDED, Allowance, Bounds, Refusal, Sessions, Turnstile
from editor.web.door.links import tagged
from editor.web.door.routes import API, Rule, rule_for
from editor.web.door.visitor import Network, counted_address
from editor.web.texts import heard, language, preferred

Handler = Callable[[Request, dict[str, str]], Awaitable[Response]]
FRAMES = "frame-ancestors 'self'"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
)
"""Gradio's page has inline scripts and styles and compiles the scripts of its components; nothing comes from afar."""


class Events(Protocol):
    """What the guard must know of the app's event queue."""

    def of(self, address: str) -> tuple[int, int]:
        """Queued and running events of one address, and of everybody."""

    def known(self, number: object) -> bool:
        """Whether this is the number of one of the page's events."""

    def unread(self, session: str) -> int:
        """Answers to queued events of a session that nobody has fetched yet."""

    def forget(self, session: str) -> None:
        """Drop the state of a page session, and what it has not read."""


class Guard:
    """ASGI middleware. `run_names` and `call_names` are the event names open to direct posts.

    `tags` gives what the head of the page says of a link. `tools` answers agents; without it their address is closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        network: Network,
        bounds: Bounds,
        events: Events,
        run_names: Collection[str],
        call_names: Collection[str],
        handlers: dict[str, Handler],
        tags: Callable[[Request], Awaitable[str]],
        framed_by: Collection[str] = (),
        tools: ASGIApp | None = None,
    ) -> None:
        self.app = app
        self.network = network
        self.bounds = bounds
        self.events = events
        self.run_names = frozenset(run_names)
        self.call_names = frozenset(call_names)
        self.handlers = handlers
        self.tags = tags
        self.tools = tools
        self.under_way = 0
        """Messages of agents that are being answered."""
        self.policy = POLICY + " ".join((FRAMES, *framed_by))
        self.sessions = Sessions(bounds.sessions, events.forget)
        self.failures = Allowance(bounds.failures)
        self.turns = {
            rule: Turnstile(bounds.at_once, bounds.waiting) for rule in (Rule.OURS, Rule.REPLACED, Rule.TOOLS)
        }
        self.turns[Rule.JSON] = Turnstile(bounds.events_at_once, bounds.waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the app speaks no websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        language.set(preferred(Headers(scope=scope).get("accept-language")))
        scope = self.network.seen_through(scope)
        send = self._with_headers(send)
        try:
            self.network.check(scope)
            await self._answer(scope, receive, send)
        except Refusal as refusal:
            # The body may be unread: close, so that the rest of it is not taken for the next request.
            said = heard(refusal.message)
            body = {"error": said, "detail": said}  # Gradio's page shows the latter
            answer = JSONResponse(body, refusal.status, headers={"connection": "close"})
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = local_path(scope)
        rule, values = rule_for(scope["method"], path)
        address = counted_address((scope.get("client") or ("", 0))[0])
        if rule is Rule.CLOSED or (rule is Rule.TOOLS and self.tools is None):
            raise Refusal(404, "There is nothing at this address.")
        if path == "/healthz":  # a monitor is answered however busy its address is
            await self._by_handler(scope, receive, send, path, values)
        elif rule in (Rule.OURS, Rule.REPLACED):
            async with self.turns[rule].turn(address):
                await self._by_handler(scope, receive, send, path, values)
        elif rule is Rule.JSON:
            self._check_name(path, values)
            async with self.turns[rule].turn(address):
                await self._event(scope, receive, send, path, address)
        elif rule is Rule.TOOLS:
            async with self.turns[rule].turn(address):
                await self._message(scope, receive, send, address)
        else:
            if "path_or_url" in values:
                check_file_address(values["path_or_url"])
            if path == "/" and scope["method"] == "GET":
                send = tagged(send, await self.tags(Request(scope)))
            await self.app(scope, receive, send)

    async def _by_handler(self, scope: Scope, receive: Receive, send: Send, path: str, values: dict[str, str]) -> None:
        name = path.removeprefix(API).split("/")[1]
        response = await self.handlers[name](Request(scope, receive), values)
        await response(scope, receive, send)

    async def _event(self, scope: Scope, receive: Receive, send: Send, path: str, address: str) -> None:
        """One post of an event, checked and counted."""
        body, receive = await read_json(scope, punctual(receive, self.bounds))
        if path.startswith((f"{API}/cancel", f"{API}/reset")):
            await self.app(scope, receive, send)
            return
        called, direct = path.startswith(f"{API}/call/"), path.startswith(f"{API}/run/")
        if not called and not self.events.known(body.get("fn_index")):
            raise Refusal(404, "There is no such function.")
        if not direct:
            self._check_room(address)
        if self.failures.spent(address):
            raise Refusal(429, BUSY)
        if isinstance(session := body.get("session_hash"), str):
            self.sessions.seen(address, session)
        await self.app(scope, receive, self._watched(send, address, called))

    async def _message(self, scope: Scope, receive: Receive, send: Send, address: str) -> None:
        """One message of an agent, checked and counted as an event is."""
        if scope["method"] != "POST":  # agents ask whether they may listen, and go on without
            raise Refusal(405, "Post one message at a time; each is answered at once.")
        _, receive = await read_json(scope, punctual(receive, self.bounds))
        if self.failures.spent(address):
            raise Refusal(429, BUSY)
        if self.under_way >= self.bounds.events:
            raise Refusal(503, CROWDED)
        self.under_way += 1
        try:
            await self.tools(scope, receive, self._watched(send, address, False))
        finally:
            self.under_way -= 1

    def _check_room(self, address: str) -> None:
        """Refuse an event when this address, or everybody together, has enough of them in the queue."""
        mine, everybody = self.events.of(address)
        if mine >= self.bounds.events_per_address:
            raise Refusal(429, BUSY)
        if everybody >= self.bounds.events:
            raise Refusal(503, CROWDED)
        unread = {session: self.events.unread(session) for session in self.sessions.of(address)}
        if sum(unread.values()) > self.bounds.unread:
            self.events.forget(max(unread, key=unread.__getitem__))

    def _watched(self, send: Send, address: str, named_by_event: bool) -> Send:
        """Count errors; and remember the session that Gradio makes for a call, named by the event it answers."""

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 500):
                self.failures.take(address)
            if named_by_event and message["type"] == "http.response.body":
                self._note_event(address, message.get("body", b""))
            await send(message)

        return sender

    def _note_event(self, address: str, body: bytes) -> None:
        try:
            event = json.loads(body)["event_id"]
        except (ValueError, KeyError, TypeError):  # a refusal
            return
        self.sessions.seen(address, str(event))

    def _check_name(self, path: str, values: dict[str, str]) -> None:
        if "api_name" not in values:
            return
        allowed = self.run_names if path.startswith(f"{API}/run/") else self.call_names
        if values["api_name"] not in allowed:
            raise Refusal(404, "There is no such function.")

    def _with_headers(self, send: Send) -> Send:
        """Add what every answer carries. A job's address is its only key, so it must not leave as a referrer."""

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers["Content-Security-Policy"] = self.policy
            await send(message)

        return sender


def local_path(scope: Scope) -> str:
    """The request path below the address the app is mounted at."""
    root = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    return path[len(root) :] if root and path.startswith(root + "/") else path
