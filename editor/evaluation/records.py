"""Results on disk: a file of JSON lines per configuration, and the edited frames beside for the report."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editor.evaluation.configurations import Configuration
from editor.evaluation.tasks import Task
from editor.media.files import replacing

COMMITTED = Path(__file__).parents[2] / "assets" / "evaluation"
"""The results that belong to the repository."""

METRICS = 1  # counted up when a metric changes its meaning, so that older results are measured anew
DIGITS = 4  # decimals kept of every number


@dataclass(frozen=True)
class Record:
    """The result of one configuration on one task.

    `fingerprint` names everything that the result depends on but the code. `settings`: the method's numbers.
    `metrics`: see `editor.evaluation.metrics`. `identified`: the value of the edited attribute whose clip is nearest;
    `right`: whether it is the wanted one. The rest as in `Outcome`.
    """

    configuration: str
    task: str
    kind: str
    frames: int
    fingerprint: str
    model: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    identified: str
    right: bool
    evaluations: Mapping[str, float]
    rebuilt: float | None = None
    trace: tuple[float, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    extra: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def cost(self) -> float:
        """UNet evaluations per frame."""
        return sum(self.evaluations.values())


def fingerprint(configuration: Configuration, task: Task, revision: str) -> str:
    """What a result depends on, as 16 hex digits: task, settings, frames, model weights and the metrics' meaning."""
    parts = {
        "task": asdict(task),
        "how": configuration.how,
        "settings": configuration.settings(),
        "strength": configuration.strength,
        "frames": configuration.frames,
        "rebuild": configuration.rebuild,
        "revision": revision,
        "metrics": METRICS,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


SHARED = ("configuration", "model", "frames", "settings")
"""Fields of a record that all tasks of a file have in common: its first line."""


@dataclass(frozen=True)
class Store:
    """Results in `folder/<configuration>.jsonl`: the `SHARED` fields, then a line per task with the others.

    Frames are `.webp` strips under `pictures`. One process writes at a time.
    """

    folder: Path
    pictures: Path | None = None

    def path(self, configuration: str) -> Path:
        """Where the records of a configuration are or will be."""
        return self.folder / f"{configuration}.jsonl"

    def read(self, configuration: str) -> dict[str, Record]:
        """The records of one configuration by task; lines that cannot be read count as absent."""
        try:
            head, *lines = self.path(configuration).read_text(encoding="utf-8").splitlines()
            shared = {name: json.loads(head)[name] for name in SHARED}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        found = filter(None, (_record(shared, line) for line in lines))
        return {record.task: record for record in found}

    def put(self, records: Iterable[Record]) -> None:
        """Keep records of one configuration. Those that are there with other `SHARED` fields are dropped."""
        fresh = list(records)
        head = {name: _rounded(getattr(fresh[0], name)) for name in SHARED}
        kept = self.read(fresh[0].configuration)
        kept = {task: known for task, known in kept.items() if all(getattr(known, n) == head[n] for n in SHARED)}
        kept |= {record.task: record for record in fresh}
        lines = [head, *(_own(kept[task]) for task in sorted(kept))]
        path = self.path(fresh[0].configuration)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:  # a file that exists is whole, also after an interruption
            partial.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines), encoding="utf-8")

    def keep_frames(self, configuration: str, task: str, frames: np.ndarray) -> None:
        """Keep frames uint8 (F, H, W, 3), where pictures are kept."""
        if self.pictures is not None:
            path = self.pictures / configuration / f"{task}.webp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.concatenate(list(frames))).save(path, quality=90)

    def frames(self, configuration: str, task: str, count: int) -> np.ndarray | None:
        """The kept frames uint8 (count, H, W, 3), lightly compressed, or None."""
        path = self.pictures / configuration / f"{task}.webp" if self.pictures else None
        if path is None or not path.is_file():
            return None
        with Image.open(path) as strip:
            pixels = np.asarray(strip.convert("RGB"))
        return np.stack(np.split(pixels, count)) if len(pixels) % count == 0 else None

    def __iter__(self) -> Iterator[Record]:
        for path in sorted(self.folder.glob("*.jsonl")):
            yield from self.read(path.stem).values()


def _record(shared: Mapping[str, Any], line: str) -> Record | None:
    try:
        values = shared | json.loads(line)
        return Record(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (ValueError, TypeError):
        return None


def _own(record: Record) -> dict[str, Any]:
    """What a record does not share with the others of its file."""
    return _rounded({name: value for name, value in asdict(record).items() if name not in SHARED})


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value
