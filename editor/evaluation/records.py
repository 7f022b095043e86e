"""Results on disk as JSON lines, with the edited frames beside, and whether two agree."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from editor.evaluation.configurations import OF_THE_CLIP, YARDSTICKS, Configuration
from editor.evaluation.metrics import METRICS
from editor.evaluation.tasks import Task
from editor.media.files import replacing
from editor.request import PRESETS, EditRequest

COMMITTED = Path(__file__).parents[2] / "assets" / "evaluation"
"""The results that belong to the repository."""

MEANING = 1  # counted up when a metric changes its meaning, so that older results are measured anew
DIGITS = 4  # decimals kept of every number


@dataclass(frozen=True)
class Record:
    """The result of one configuration on one task.

    `revision`: of the model's weights. `settings`: the method's numbers. `fingerprint`: of the task. `metrics`: see
    `editor.evaluation.metrics`; a measure that is younger than the record is absent. `identified`: the value of the
    edited attribute whose clip is nearest; `right`: whether it is the wanted one. The rest as in `Attempt`.
    """

    configuration: str
    model: str
    revision: str
    frames: int
    settings: Mapping[str, Any]
    task: str
    kind: str
    fingerprint: str
    metrics: Mapping[str, float | None]
    identified: str
    right: bool
    stage_unet_evaluations: Mapping[str, float]
    reconstruction_psnr: float | None = None
    trace: tuple[float, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def unet_evaluations_per_frame(self) -> float:
        """The work of all stages."""
        return sum(self.stage_unet_evaluations.values())

    def is_of(self, configuration: Configuration, task: Task, model: str, revision: str) -> bool:
        """Whether it is the result of just these: settings, frames, task, weights and the metrics' meaning."""
        same = (self.revision, self.frames, self.fingerprint) == (revision, configuration.frames, fingerprint(task))
        return same and same_settings(self.settings, rounded(configuration.settings(model)))

    @property
    def complete(self) -> bool:
        """Whether everything is there that is measured today."""
        return set(METRICS) <= set(self.metrics)


def fingerprint(task: Task) -> str:
    """A task and what the metrics mean, as 16 hex digits."""
    parts = {"task": asdict(task), "meaning": MEANING}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def same_settings(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether kept settings are the wanted ones. A field that did not exist then must be wanted at its default."""
    defaults = rounded(EditRequest().to_dict())
    kept = {name: value for name, value in kept.items() if name not in OF_THE_CLIP}
    return set(kept) <= set(wanted) and all(kept.get(name, defaults.get(name)) == wanted[name] for name in wanted)


OF_YARDSTICKS = {yardstick.name for yardstick in YARDSTICKS}

SHARED = ("configuration", "model", "revision", "frames", "settings")
"""Fields of a record that all tasks of a configuration have in common: the line before them."""


@dataclass(frozen=True)
class Store:
    """Results in `folder`, a file per preset and one for the yardsticks: per configuration the `SHARED` fields, then a
    line per task with the others.

    What varies a preset, such as `balanced_without_blend`, is in the preset's file. Anything else, a searched
    configuration for one, has a file of its own. Frames are `.webp` strips under `pictures`. One process writes at a
    time.
    """

    folder: Path
    pictures: Path | None = None

    def path(self, configuration: str) -> Path:
        """Where the records of a configuration are or will be."""
        preset = configuration.partition("_")[0]
        name = preset if preset in PRESETS else "yardsticks" if configuration in OF_YARDSTICKS else configuration
        return self.folder / f"{name}.jsonl"

    def read(self, configuration: str) -> dict[str, Record]:
        """The records of one configuration by task; lines that cannot be read count as absent."""
        return _sections(self.path(configuration)).get(configuration, {})

    def put(self, records: Iterable[Record]) -> None:
        """Keep records of one configuration. Those that are there with other `SHARED` fields are dropped."""
        fresh = list(records)
        head = {name: rounded(getattr(fresh[0], name)) for name in SHARED}
        path = self.path(fresh[0].configuration)
        sections = _sections(path)
        kept = sections.get(fresh[0].configuration, {})
        kept = {task: known for task, known in kept.items() if all(getattr(known, n) == head[n] for n in SHARED)}
        sections[fresh[0].configuration] = kept | {record.task: record for record in fresh}
        lines = []
        for _, section in sorted(sections.items()):
            found = [record for _, record in sorted(section.items())]
            lines += [{name: rounded(getattr(found[0], name)) for name in SHARED}, *map(_own, found)] if found else []
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
            for section in _sections(path).values():
                yield from section.values()


def _sections(path: Path) -> dict[str, dict[str, Record]]:
    """The records of a file by configuration and task; what cannot be read counts as absent."""
    found: dict[str, dict[str, Record]] = {}
    shared: dict[str, Any] | None = None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    for line in lines:
        values = _object(line)
        if values is not None and set(values) == set(SHARED):
            shared = values
        record = _record(shared, values) if shared and values else None
        if record is not None:
            found.setdefault(record.configuration, {})[record.task] = record
    return found


def _object(line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _record(shared: Mapping[str, Any], own: Mapping[str, Any]) -> Record | None:
    try:
        return Record(**{k: tuple(v) if isinstance(v, list) else v for k, v in (shared | own).items()})
    except (ValueError, TypeError):
        return None


def _own(record: Record) -> dict[str, Any]:
    """What a record does not share with the others of its file."""
    return rounded({name: value for name, value in asdict(record).items() if name not in SHARED})


def rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value as it reads back from a file: tuples are lists, numbers have `DIGITS` decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


TOLERANCES = {
    "psnr": 0.5,
    "unchanged_psnr": 0.5,
    "changed_psnr": 0.5,
    "ssim": 0.02,
    "unchanged_ssim": 0.02,
    "changed_ssim": 0.02,
    "sharpness": 0.05,
    "color_error": 0.5,
    "temporal_error": 0.5,
    "warp_error": 0.5,
    "reconstruction_psnr": 0.5,
    "unet_evaluations_per_frame": 0.01,
}
"""How far a number may lie from the committed one: dB, SSIM, ratios, CIEDE2000, levels of 255, UNet evaluations.

Another processor or number of threads sums in another order. Such differences grow from step to step, and a mask that
flips a cell makes them visible, yet they stay well below what one setting changes.
"""


def differences(fresh: Iterable[Record], committed: Store) -> tuple[int, list[str]]:
    """How many results were compared, and a sentence for each that does not agree."""
    compared, found = 0, []
    kept: dict[str, dict[str, Record]] = {}
    for record in fresh:
        if record.configuration not in kept:
            kept[record.configuration] = committed.read(record.configuration)
        known = kept[record.configuration].get(record.task)
        if known is None:
            continue
        compared += 1
        found += [f"{record.configuration}, {record.task}: {what}" for what in _between(record, known)]
    return compared, found


def _between(fresh: Record, known: Record) -> list[str]:
    """What differs between two results of one task. A measure that the committed one lacks is not compared."""
    same = all(getattr(fresh, name) == getattr(known, name) for name in ("revision", "frames", "fingerprint"))
    if not same or not same_settings(known.settings, rounded(fresh.settings)):
        return ["the committed result is from other settings, another model or another task; renew it with --accept"]
    said = []
    for name, tolerance in TOLERANCES.items():
        if name in known.metrics or name not in METRICS:
            here, there = _value(fresh, name), _value(known, name)
            if (here is None) != (there is None):
                said.append(f"{name} is {here}, committed {there}")
            elif here is not None and there is not None and abs(here - there) > tolerance:
                said.append(f"{name} is {here:.3f}, committed {there:.3f}; they may differ by {tolerance:g}")
    if fresh.identified != known.identified:
        said.append(f"recognised as {fresh.identified}, committed {known.identified}")
    return said


def _value(record: Record, name: str) -> float | None:
    return record.metrics[name] if name in METRICS else getattr(record, name)
