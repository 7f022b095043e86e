"""`python -m editor evaluate --full-rate`: few frames edited and the rest carried, against editing them all."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from editor.diffusion.models import Models
from editor.evaluation.attempts import drawn_footage, edited_drawn
from editor.evaluation.configurations import Configuration
from editor.evaluation.metrics import temporal_error, warp_error
from editor.evaluation.records import MEANING, rounded
from editor.evaluation.tasks import Drawn, Task, by_clip, draw
from editor.events import ignore
from editor.media import psnr
from editor.method.branches import planned_evaluations
from editor.motion import Change, Keyframes, carried, difference, spread
from editor.request import EditRequest
from editor.stages.cache import InversionCache
from editor.stages.session import Session
from editor.stages.targets import finished_frames

FRAMES = 24
STRIDES = {3: "3rd", 6: "6th"}
"""Which frames are keyframes, and how that is said."""
Rows = dict[str, dict[str, float | None]]


def measure(
    tasks: Sequence[Task], preset: str, models: Models, place: Path, say: Callable[[str], None], again: bool = False
) -> dict[str, Rows]:
    """The rows of every task, kept in the file `place` clip by clip, so that an interrupted run goes on.

    What other weights or settings gave is measured again.
    """
    of = made_of(preset, models.name, models.revision)
    found = {} if again else kept(place, of)
    cache = InversionCache(place.parent / "inversions", 4 * 10**9)
    for group in by_clip(tasks):
        missing = [task for task in group if task.id not in found]
        if not missing:
            continue
        for task, rows in zip(missing, compared(missing, preset, models, cache), strict=True):
            found[task.id] = rounded(rows)
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"  {json.dumps(name)}: {json.dumps(rows)}" for name, rows in sorted(found.items()))
        head = f'"of": {json.dumps(of)}'
        place.write_text("{" + head + ',\n "tasks": {\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
        say(f"{len(found)} tasks measured, {group[0].clip}")
    return {task.id: found[task.id] for task in tasks}


def kept(place: Path, of: Mapping[str, Any]) -> dict[str, Rows]:
    """The rows in a file by task; none where there is no file, and where it is not `made_of` just that."""
    known = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    return known["tasks"] if known.get("of") == of else {}


def made_of(preset: str, model: str, revision: str) -> dict[str, Any]:
    """What decides the rows, beside the tasks."""
    agreement = EditRequest.from_preset(preset, model=model).agreement
    settings = Configuration(preset, "", preset=preset).settings(model)
    return rounded({"revision": revision, "meaning": MEANING, "frames": FRAMES, "agreement": agreement, **settings})


def compared(
    tasks: Sequence[Task],
    preset: str,
    models: Models,
    cache: InversionCache | None,
    frames: int = FRAMES,
    steps: int | None = None,
) -> list[Rows]:
    """Tasks of one clip: all frames edited, and every 3rd and 6th (`_3`, `_6`) with the rest held or carried.

    `truth` is the right answer itself: what of an error is not the edit's.
    """
    drawn = [draw(task, frames, models.native_size) for task in tasks]
    clip = drawn[0].source
    words = {"source": tasks[0].source_prompt, "targets": tuple(task.target_prompt for task in tasks)}
    request = EditRequest.from_preset(preset, model=models.name, steps=steps, **words).validated()
    everything = list(range(frames))
    edits, works = _edited(request, clip, models, cache)
    found = [
        {"truth": _measured(d.truth, d, everything, 0.0), "all": _measured(e, d, everything, w)}
        for e, d, w in zip(edits, drawn, works, strict=True)
    ]
    for stride in STRIDES:
        places = sorted({*range(0, frames, stride), frames - 1})
        edits, works = _edited(request, clip[places], models, cache)
        for rows, edit, right, work in zip(found, edits, drawn, works, strict=True):
            for name, result in _spread(clip, edit, places, request.agreement).items():
                rows[f"{name}_{stride}"] = _measured(result, right, places, work * len(places) / frames)
    return found


def _edited(
    request: EditRequest, frames: np.ndarray, models: Models, cache: InversionCache | None
) -> tuple[list[np.ndarray], list[float]]:
    """`frames` edited towards every target, and what each takes alone, in UNet evaluations per frame of these."""
    session = Session.begin(request, models, ignore, cache, check=False, previews=False)
    footage = drawn_footage(frames, models)
    edited = edited_drawn(session, footage)
    targets = range(len(session.plans))
    results = [np.stack([frame for _, frame in finished_frames(session, footage, edited, i)]) for i in targets]
    return results, [sum(planned_evaluations(session.request, (plan,)).values()) for plan in session.plans]


def _spread(clip: np.ndarray, edit: np.ndarray, places: Sequence[int], agreement: int) -> dict[str, np.ndarray]:
    """The edited keyframes at `places` of a `clip`, brought to all of its frames: held, carried, agreed and carried."""
    keyframes = Keyframes(tuple(places), (0,) * len(places), len(clip))
    changes = [Change(0, clip[p], difference(e, clip[p])) for p, e in zip(places, edit, strict=True)]
    last = np.searchsorted(places, range(len(clip)), side="right") - 1
    return {
        "held": edit[last],
        "carried": np.stack([c.frame for c in carried(clip, keyframes, changes)]),
        "agreed": np.stack([c.frame for c in spread(clip, keyframes, changes, agreement)]),
    }


def _measured(edit: np.ndarray, right: Drawn, places: Sequence[int], work: float) -> dict[str, float | None]:
    """Numbers of an edit whose frames at `places` were edited. `between`: PSNR of the others, None without any."""
    others = [i for i in range(len(edit)) if i not in set(places)]
    return {
        "psnr": psnr(edit, right.truth),
        "keyframes": psnr(edit[places], right.truth[places]),
        "between": psnr(edit[others], right.truth[others]) if others else None,
        "unchanged": None if right.unchanged is None else psnr(edit, right.truth, right.unchanged),
        "temporal": temporal_error(edit, right.truth),
        "warp": warp_error(edit, right.truth),
        "evaluations": work,
    }


def summary(found: Iterable[Rows]) -> dict[str, dict[str, float | None]]:
    """The mean of every number over the tasks that have it. `loss`: what frames between lose to keyframes, in dB."""
    rows = list(found)
    means: dict[str, dict[str, float | None]] = {}
    for name in rows[0]:
        values = {key: [r[name][key] for r in rows if r[name][key] is not None] for key in rows[0][name]}
        means[name] = {key: float(np.mean(v)) if v else None for key, v in values.items()}
        between, keyframes = means[name]["between"], means[name]["keyframes"]
        means[name]["loss"] = None if between is None else keyframes - between
    return means


def verdicts(means: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """What was promised of carried frames that agree, and whether it is kept."""
    whole, lines = means["all"], [f"warping error of the right answer itself: {means['truth']['warp']:.2f}"]
    for (stride, ordinal), loss in zip(STRIDES.items(), (0.3, 0.6), strict=True):
        row = means[f"agreed_{stride}"]
        promises = {
            f"frames between lose {row['loss']:.2f} dB (at most {loss})": row["loss"] <= loss,
            f"warping error {row['warp']:.2f} of {whole['warp']:.2f} (at most half)": row["warp"] <= whole["warp"] / 2,
            f"temporal error {row['temporal']:.2f} of {whole['temporal']:.2f} (15 % less)": row["temporal"]
            <= 0.85 * whole["temporal"],
            f"part that stays {row['unchanged']:.2f} of {whole['unchanged']:.2f} dB": row["unchanged"]
            >= whole["unchanged"] - 0.05,
        }
        lines += [f"every {ordinal}: {said}: {'kept' if kept else 'MISSED'}" for said, kept in promises.items()]
    return lines
