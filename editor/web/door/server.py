"""How the web server takes connections: bounded in number and in the time a request may take to be said.

Gradio starts uvicorn with fixed options. uvicorn makes every connection with the protocol class that its running
configuration names, so the class can be set once the server runs, without a change to either library.
"""

import asyncio
import logging
import time
from collections import Counter

import h11
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from editor.settings import Settings
from editor.web.door.limits import Bounds
from editor.web.door.visitor import Network, counted_address

log = logging.getLogger(__name__)

FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"
LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
RESERVED_DESCRIPTORS = 200
"""Files, pipes and database of this process, which must open however many connections there are."""


class Connections:
    """Counts open connections, in all and by address. A believed proxy brings many visitors and is not counted so."""

    def __init__(self, settings: Settings, network: Network) -> None:
        self._most = min(settings.max_connections, raise_descriptor_limit() - RESERVED_DESCRIPTORS)
        self._share = settings.connections_per_address
        self._network = network
        self._open: Counter[str] = Counter()

    def enter(self, peer: str) -> bool:
        """Count a connection of `peer`; False, and not counted, when there are too many."""
        address = counted_address(peer)
        full = self._open.total() >= self._most
        if full or (self._open[address] >= self._share and not self._network.trusts(peer)):
            return False
        self._open[address] += 1
        return True

    def leave(self, peer: str) -> None:
        """A counted connection of `peer` is closed."""
        address = counted_address(peer)
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]


def bound_server(server: uvicorn.Server, connections: Connections, bounds: Bounds) -> None:
    """Make every further connection of a running server a bounded one."""

    class BoundedProtocol(H11Protocol):
        """HTTP/1.1 with a deadline for the headers of a request."""

        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict,
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._deadline: asyncio.TimerHandle | None = None
            self._counted = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._peer = self.client[0] if self.client else ""
            self._counted = connections.enter(self._peer)
            if self._counted:
                self._await_head()
            else:
                self._close(FULL)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._cancel_deadline()
            elif self.conn.trailing_data[0] and self._deadline is None:  # a further request has begun
                self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel_deadline()
            if self._counted:
                connections.leave(self._peer)
                self._counted = False
            super().connection_lost(exc)

        def _await_head(self) -> None:
            self._deadline = self.loop.call_later(bounds.head_seconds, self._close, LATE)

        def _cancel_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _close(self, answer: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(answer)
                self.transport.close()

    server.config.http_protocol_class = BoundedProtocol


def raise_descriptor_limit(wanted: int = 65_536) -> int:
    """Let this process open as many files as the system allows it, up to `wanted`; returns how many that is."""
    try:
        import resource
    except ImportError:  # Windows counts differently and has room for all connections that are allowed by default
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return min(soft, wanted) if soft != resource.RLIM_INFINITY else wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError):  # some systems name a limit that they do not grant
        return soft
    return most


class Throttle(logging.Filter):
    """Lets a few records of each message through per minute, then says how many more there were."""

    def __init__(self, few: int = 5, seconds: float = 60.0) -> None:
        super().__init__()
        self._few = few
        self._seconds = seconds
        self._begun = time.monotonic()
        self._seen: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        now = time.monotonic()
        kept_back = 0
        if now - self._begun > self._seconds:
            kept_back = sum(max(0, n - self._few) for n in self._seen.values())
            self._begun, self._seen = now, Counter()
        key = str(record.msg)[:200]
        self._seen[key] += 1
        if kept_back:
            record.msg = f"{record.getMessage()} ({kept_back} similar messages were left out before this one)"
            record.args = ()
        return self._seen[key] <= self._few


def throttle_server_logs() -> None:
    """Keep what clients can provoke from filling the log: broken requests and events, refused connections."""
    for name in ("uvicorn.error", "asyncio", "editor.web.clicks", "editor.web.told", "editor.web.agents"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, Throttle) for known in logger.filters):
            logger.addFilter(Throttle())
