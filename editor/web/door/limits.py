"""What one visitor may take of the server: turns, amounts an hour and sessions, counted by network address."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

BUSY = "Too many requests from your network at this moment. Please wait a few seconds and try again."
CROWDED = "Very many people are using this page at this moment. Please try again in a minute."
MOST_ADDRESSES = 10_000
"""Addresses remembered by one counter; beyond it the ones not heard of for longest are forgotten."""


class Refusal(Exception):
    """An answer the guard gives instead of the app."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Bounds:
    """Every number of the door that is no setting, in one place; tests shorten them."""

    head_seconds: float = 15.0
    """From the first byte of a request, or from connecting, to the end of its headers."""
    body_silence: float = 20.0
    """Longest pause inside a body, in seconds."""
    body_rate: float = 4000.0
    """Least bytes per second of a body, on average, once `body_grace` seconds have passed."""
    body_grace: float = 30.0
    at_once: int = 8
    """Requests of one kind (files, uploads, messages of agents) of one address that are worked on together."""
    events_at_once: int = 4
    """The same for events. They all need the one thread of the event loop, so more together would do no more work, and
    everybody else would wait for all of them at each turn."""
    waiting: int = 64
    """Further ones that wait for their turn; the next is refused."""
    events_per_address: int = 32
    """Queued events of one address, waiting or running."""
    events: int = 400
    """Queued events of everybody; and as many messages of agents."""
    failures: int = 60
    """Events of one address that may end in a server error, per hour."""
    unread: int = 500
    """Answers that wait for one address; beyond it the session that leaves most of them unread is dropped."""
    uploads: int = 300
    """Uploads of one address per hour."""
    sessions: int = 100
    """Page sessions whose state is kept for one address; `SESSIONS` are kept in all."""


SESSIONS = 500
"""Sessions whose state Gradio keeps, about 0.1 MB each; the ones unused for longest go first."""


class Turnstile:
    """Lets a bounded number of requests of one address through together; some more wait, the rest is refused."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._inside: dict[str, int] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the block. Raises `Refusal` when too many wait already."""
        if self._inside.get(address, 0) >= self._most:
            raise Refusal(429, BUSY)
        self._inside[address] = self._inside.get(address, 0) + 1
        turns = self._turns.setdefault(address, asyncio.Semaphore(self._at_once))
        try:
            async with turns:
                yield
        finally:
            self._inside[address] -= 1
            if not self._inside[address]:
                del self._inside[address], self._turns[address]


class Allowance:
    """An amount per address that is given back evenly over an hour."""

    def __init__(self, amount: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._amount = amount
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def used(self, address: str) -> float:
        """What is not yet given back."""
        used, since = self._used.get(address, (0.0, 0.0))
        return max(0.0, used - (self._clock() - since) * self._amount / 3600)

    def take(self, address: str, amount: float = 1.0) -> bool:
        """Use `amount`; False, and nothing is used, when that is more than is left."""
        used = self.used(address) + amount
        if used > self._amount:
            return False
        self._used[address] = (used, self._clock())
        self._used.move_to_end(address)
        if len(self._used) > MOST_ADDRESSES:
            self._used.popitem(last=False)
        return True

    def spent(self, address: str) -> bool:
        """Whether not even one more unit is left."""
        return self.used(address) + 1 > self._amount


class Sessions:
    """Keeps one address from pushing the sessions of others out of Gradio's memory: beyond its share its own go."""

    def __init__(self, share: int, forget: Callable[[str], None]) -> None:
        self._share = share
        self._forget = forget
        self._known: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    def of(self, address: str) -> tuple[str, ...]:
        """The sessions known of this address, the one unused for longest first."""
        return tuple(self._known.get(address, ()))

    def seen(self, address: str, session: str) -> None:
        """A request of this address named this session."""
        mine = self._known.setdefault(address, OrderedDict())
        self._known.move_to_end(address)
        mine[session] = None
        mine.move_to_end(session)
        if len(mine) > self._share:
            self._forget(mine.popitem(last=False)[0])
        if len(self._known) > MOST_ADDRESSES:
            self._known.popitem(last=False)
