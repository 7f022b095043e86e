"""What server and worker process say to each other: one JSON object per line, and nothing executable.

To the worker: `Setup` once, then `Run` and `Stop`. From the worker: `Beat`, `Progress`, `PreviewSaved`, `Outcome`.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from editor.events import EditResult, Progress, Stage
from editor.jobs.executor import Ending, Outcome, PreviewSaved, Task
from editor.request import EditRequest
from editor.settings import Settings


@dataclass(frozen=True)
class Setup:
    """What a worker must know before its first run."""

    engine: str
    settings: Settings
    beat: float
    preview: float


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


Message = Setup | Run | Stop | Beat | Progress | PreviewSaved | Outcome
_KINDS = {kind.__name__: kind for kind in (Setup, Run, Stop, Beat, Progress, PreviewSaved, Outcome)}


def encode(message: Message) -> bytes:
    """One line, newline included."""
    body = {"kind": type(message).__name__, **asdict(message)}
    return json.dumps(body, default=_plain).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read `encode`'s form back."""
    body: dict[str, Any] = json.loads(line)
    kind = _KINDS[body.pop("kind")]
    if kind is Setup:
        body["settings"] = _settings(body["settings"])
    elif kind is Run:
        task = body["task"]
        request = EditRequest.from_dict(task["request"])
        body["task"] = Task(Path(task["folder"]), Path(task["preview"]), request)
    elif kind is Progress:
        body["stage"] = Stage(body["stage"])
    elif kind is Outcome:
        body = {**body, "ending": Ending(body["ending"]), "results": tuple(map(_result, body["results"]))}
    return kind(**body)


def _plain(value: object) -> str:
    """The JSON form of the values in our dataclasses that JSON does not know."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Ending):
        return value.value
    raise TypeError(f"{type(value).__name__} does not cross the process boundary")


def _settings(values: dict[str, Any]) -> Settings:
    """Give paths and tuples back the types that JSON took."""
    types = {f.name: f.type for f in fields(Settings)}
    made = {
        name: Path(v) if types[name] is Path else tuple(v) if isinstance(v, list) else v for name, v in values.items()
    }
    return Settings(**made)


def _result(values: dict[str, Any]) -> EditResult:
    paths = {name: Path(values[name]) for name in ("edited", "side_by_side", "poster", "manifest")}
    return EditResult(target=values["target"], summary=values["summary"], **paths)
