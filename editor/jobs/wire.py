"""What server and worker process say to each other: one JSON object per line, and nothing executable.

To the worker: `Setup` once, then `Warm`, `Run` and `Stop`. From it: `Beat`, `Progress`, `PreviewSaved`, `Outcome`.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter

from editor.events import Progress
from editor.jobs.executor import Outcome, PreviewSaved, Task
from editor.jobs.timing import Timing
from editor.settings import Settings


@dataclass(frozen=True)
class Setup:
    """What a worker must know before its first run."""

    engine: str
    settings: Settings
    timing: Timing


@dataclass(frozen=True)
class Warm:
    """Get ready for the first run."""


@dataclass(frozen=True)
class Run:
    """Compute this on that device."""

    slot: str
    task: Task


@dataclass(frozen=True)
class Stop:
    """End the present run early; without one it means nothing."""


@dataclass(frozen=True)
class Beat:
    """The worker is alive."""


Message = Setup | Warm | Run | Stop | Beat | Progress | PreviewSaved | Outcome


@cache
def _kinds() -> dict[str, TypeAdapter]:
    """How each kind of message becomes plain JSON values and back, by its name."""
    return {kind.__name__: TypeAdapter(kind) for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """One line, newline included. Raises `ValueError` for values that have no place in such a message."""
    kind = type(message).__name__
    body = _kinds()[kind].dump_python(message, mode="json", warnings="error")
    return json.dumps({"kind": kind, "body": body}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read `encode`'s form back. Raises `ValueError` or `KeyError` for anything else."""
    message: dict[str, Any] = json.loads(line)
    return _kinds()[message["kind"]].validate_python(message["body"])
