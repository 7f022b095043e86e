"""Results on disk: one small JSON file per task and configuration, and the edited frames beside for the report."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from editor.evaluation.configurations import Configuration
from editor.evaluation.tasks import Task

MEASURED = Path(__file__).with_name("measured")
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

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(_rounded(asdict(self)), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text back. Raises `ValueError` or `TypeError` for another form."""
        values = json.loads(text)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


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


@dataclass(frozen=True)
class Store:
    """Folders of results: `folder/<configuration>/<task>.json`, and the frames as `.webp` strips under `pictures`."""

    folder: Path
    pictures: Path | None = None

    def path(self, configuration: str, task: str) -> Path:
        """Where the record is or will be."""
        return self.folder / configuration / f"{task}.json"

    def get(self, configuration: str, task: str) -> Record | None:
        """The record, or None where there is none that can be read."""
        try:
            return Record.from_json(self.path(configuration, task).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, record: Record, frames: np.ndarray | None = None) -> None:
        """Keep a record, and its frames uint8 (F, H, W, 3) where pictures are kept."""
        if frames is not None and self.pictures is not None:
            picture = self._picture(record.configuration, record.task)
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.concatenate(list(frames))).save(picture, quality=90)
        path = self.path(record.configuration, record.task)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_text(record.to_json(), encoding="utf-8")
        os.replace(partial, path)  # a file that exists is whole, also after an interruption

    def frames(self, configuration: str, task: str) -> np.ndarray | None:
        """The kept frames uint8 (F, H, W, 3), lightly compressed, or None."""
        record = self.get(configuration, task)
        path = self._picture(configuration, task) if self.pictures else None
        if record is None or path is None or not path.is_file():
            return None
        with Image.open(path) as strip:
            return np.stack(np.split(np.asarray(strip.convert("RGB")), record.frames))

    def all(self, configuration: str) -> list[Record]:
        """The records of one configuration, by task."""
        return [record for record in self if record.configuration == configuration]

    def __iter__(self) -> Iterator[Record]:
        for path in sorted(self.folder.glob("*/*.json")):
            record = self.get(path.parent.name, path.stem)
            if record is not None:
                yield record

    def _picture(self, configuration: str, task: str) -> Path:
        return Path(self.pictures or self.folder) / configuration / f"{task}.webp"


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list | tuple) else value
