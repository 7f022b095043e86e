"""A job as the page shows it: one JSON value, built from a `JobView`, that holds no path and no secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from editor.events import EditError, EditResult, Stage
from editor.jobs import JobState, JobView
from editor.presets import STRENGTHS, depends_on_family
from editor.reading import read_edit
from editor.request import PRESETS, EditRequest
from editor.web import texts
from editor.web.estimate import planned
from editor.web.texts import _, heard
from editor.web.words import marked, pointed

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a job was asked for, as the page shows it: the part of a view that never changes."""

    request: EditRequest | None
    """None when an older version of the program stored what this one does not know."""
    source: str
    targets: tuple[Json, ...]
    settings: tuple[list[str], ...]
    weights: Mapping[Stage, float]
    """Relative time of the stages: network stages by evaluations, the others a small share of them."""


def page_view(job: JobView) -> Json:
    """What the page needs to draw `job`; files are named by their address below `job/<id>/`.

    Words are compared for it, once per job: call it in a thread.
    """
    asked = _asked(json.dumps(job.request, sort_keys=True), texts.language.get())
    return {
        "id": job.id,
        "state": str(job.state),
        "final": job.state.final,
        "title": _(texts.STATES[job.state]),
        "line": _line(job),
        "fraction": _fraction(job, asked.weights),
        "left": None if job.seconds_left is None else texts.seconds(job.seconds_left),
        "stopping": job.stopping,
        "created": job.created,
        "clip": f"job/{job.id}/clip.mp4" if job.clip else None,
        "preview": _preview(job),
        "start": asked.request.start if asked.request else 0.0,
        "source": asked.source,
        "error": job.error and heard(job.error),
        "results": [_result(job, n, result) for n, result in enumerate(job.results)],
        "targets": list(asked.targets),
        "settings": [*asked.settings, *_device_rows(job)],
        "steps": _steps(asked.request),
    }


def _steps(request: EditRequest | None) -> dict[str, bool]:
    """Whether there is a strength below and above the request's."""
    if request is None or not depends_on_family(request.preset):
        return {}
    place = STRENGTHS.index(request.strength)
    return {"closer": place > 0, "stronger": place < len(STRENGTHS) - 1}


def finished_view(
    name: str, request: EditRequest, clip: str, files: Mapping[str, str], summary: Mapping[str, Any], made: str
) -> Json:
    """What the page shows of a finished edit of one target that is no job: an example's, made earlier.

    `files`: the addresses of `edited` and `strip`. `made`: a sentence that says when and how.
    """
    state, target = JobState.DONE, request.targets[0]
    return {
        "id": name,
        "state": str(state),
        "final": True,
        "title": _(texts.STATES[state]),
        "line": _(texts.STATES[state]),
        "fraction": 1.0,
        "clip": clip,
        "start": request.start,
        "source": request.source,
        "results": [{"target": target, **_told(summary), **files}],
        "targets": [_target(request.source, target)],
        "settings": settings_rows(request),
        "made": made,
    }


def stored_request(job: JobView) -> EditRequest | None:
    """The job's request; None when an older version of the program stored what this one does not know."""
    return _asked(json.dumps(job.request, sort_keys=True), texts.language.get()).request


@lru_cache(maxsize=512)
def _asked(stored: str, language: str) -> Asked:
    """Read `EditRequest.to_dict()`, of whatever version; sentences are shown even where the rest is unknown.

    `language` is the visitor's, in which the settings are named.
    """
    values = json.loads(stored)
    values = values if isinstance(values, dict) else {}
    try:
        request = EditRequest.from_dict(values).validated()
    except (EditError, TypeError):
        source, targets = values.get("source", ""), values.get("targets", ())
        targets = targets if isinstance(targets, list) else []
        return Asked(None, str(source), tuple(_target(str(source), str(target)) for target in targets), (), {})
    targets = tuple(_target(request.source, target) for target in request.targets)
    return Asked(request, request.source, targets, tuple(settings_rows(request)), _stage_weights(request))


def unknown_view(job_id: str, message: str) -> Json:
    """What the page shows for a job that cannot be shown."""
    return {"id": job_id, "state": "unknown", "final": True, "title": _("Not here"), "error": message}


def _device_rows(job: JobView) -> list[list[str]]:
    """Where it runs or ran, once that is known."""
    return [[_("Device"), texts.device(job.device, job.devices)]] if job.device else []


def _preview(job: JobView) -> str | None:
    """Its address changes with its content, so that a browser fetches each preview once."""
    if not job.preview or not job.preview_version:
        return None
    return f"job/{job.id}/preview.webp?v={job.preview_version}"


def _line(job: JobView) -> str:
    """The sentence under the picture."""
    if job.stopping and not job.state.final:
        return _("Stopping after this step")
    if job.message:
        within = job.state is JobState.RUNNING and _counted(job)
        return f"{_stage_line(job)}, {heard(job.message)}" if within else heard(job.message)
    if job.state is JobState.QUEUED:
        return texts.queued(job.position or 1, job.wait, job.devices)
    if job.state is JobState.RUNNING:
        return _stage_line(job)
    return heard(job.error) if job.error else _(texts.STATES[job.state])


def _stage_line(job: JobView) -> str:
    if job.stage is None:
        return _("Loading the model")
    stage = _(texts.STAGES[job.stage])
    return _(COUNTED[job.stage], stage=stage, done=min(job.done, job.total), of=job.total) if _counted(job) else stage


STEPS, FRAMES = "{stage}, step {done} of {of}", "{stage}, frame {done} of {of}"
COUNTED = {Stage.INVERT: STEPS, Stage.NULL_TEXT: STEPS, Stage.EDIT: STEPS, Stage.WRITE: FRAMES}
"""Stages whose units are told, and how."""


def _counted(job: JobView) -> bool:
    return job.total > 1 and job.stage in COUNTED


def _fraction(job: JobView, weights: Mapping[Stage, float]) -> float:
    """How much of the whole edit is done, 0..1."""
    if job.state is JobState.DONE:
        return 1.0
    if job.state is not JobState.RUNNING or job.stage is None or not weights:
        return 0.0
    order = list(Stage)
    before = sum(weights[stage] for stage in order[: order.index(job.stage)])
    inside = min(1.0, job.done / job.total) if job.total else 0.0
    return round(min(0.99, (before + weights[job.stage] * inside) / sum(weights.values())), 4)


def _stage_weights(request: EditRequest) -> dict[Stage, float]:
    """Relative time of the stages: network stages by evaluations, the others a small share of them."""
    work = planned(request)
    small = dict.fromkeys(Stage, 0.02 * sum(work.values()))
    return small | {Stage(name): evaluations for name, evaluations in work.items()}


def _target(source: str, target: str) -> Json:
    reading = read_edit(source, target)
    return {"text": target, "marked": marked(reading), "kind": str(reading.kind)}


def _result(job: JobView, number: int, result: EditResult) -> Json:
    base = f"job/{job.id}/{number}"
    names = {name: f"{base}/{path.name}" for name, path in result.files.items()}
    drawn = {"strip": f"{base}/strip.webp", "gif": f"{base}/edited.gif"}
    maps, source = result.summary.get("word_maps"), str(job.request.get("source", ""))
    words = {"words": pointed(read_edit(source, result.target), maps), "maps": maps} if maps else {}
    return {"target": result.target, **drawn, **_told(result.summary), **names, **words}


def _told(summary: Mapping[str, Any]) -> Json:
    """What a result's summary tells the page."""
    return {"numbers": _numbers(summary), "card": quality(summary), "frames": summary.get("frames")}


def _numbers(summary: Mapping[str, Any]) -> list[Json]:
    rows = []
    for key, (name, unit, meaning) in texts.NUMBERS.items():
        value = summary.get(key)
        if isinstance(value, int | float):
            text = _("{value:.1f}", value=value) if isinstance(value, float) else str(value)
            rows.append({"label": _(name), "value": f"{text} {_(unit)}".strip(), "meaning": _(meaning)})
    if summary.get("withheld"):
        rows.append({"label": _("Not shown"), "value": _("withheld"), "meaning": heard(str(summary["withheld"]))})
    if summary.get("inversion_cached"):
        meaning = _("The clip was inverted before, so this edit started right away.")
        rows.append({"label": _("Inversion"), "value": _("reused"), "meaning": meaning})
    return rows


def quality(summary: Mapping[str, Any]) -> list[Json]:
    """What a result's numbers say in plain words, as far as they are known."""
    rows = []
    for key, (name, shown, words, meaning) in texts.QUALITY.items():
        value = summary.get(key)
        if isinstance(value, int | float):
            word = next(word for bound, word in words if value <= bound)
            row = {"label": name, "word": word, "meaning": meaning}
            rows.append({k: _(text) for k, text in row.items()} | {"value": _(shown, value=float(value))})
    return rows


def settings_rows(request: EditRequest) -> list[list[str]]:
    """How the edit was made: the choices of the form, and what differs from the preset. Pairs of name and value."""
    start, end = f"{request.start:g}", None if request.end is None else f"{request.end:g}"
    interval = (
        _("{start} s to the end", start=start) if end is None else _("{start} s to {end} s", start=start, end=end)
    )
    rows = [
        [_("Preset"), texts.preset_title(request.preset)],
        [_("Strength"), _(texts.STRENGTHS[request.strength])],
        [_("Model"), request.model],
        [_("Numbers"), heard(request.origin())],
        *[["LoRA", _("{name} at {strength:g}", name=name, strength=s)] for name, s in request.loras.items()],
        [_("Interval"), interval],
    ]
    if request.region:
        rows.append([_("Region"), _("painted at {seconds:g} s", seconds=request.region_at)])
    base = EditRequest()
    if request.preset in PRESETS:
        choice = {name: getattr(request, name) for name in ("model", "family", "strength")}
        base = EditRequest.from_preset(request.preset, **choice)
    for f in fields(EditRequest):
        value = getattr(request, f.name)
        if f.metadata["advanced"] and value != getattr(base, f.name):
            rows.append([_(label(f.name)), plain(value)])
    return rows


def label(name: str) -> str:
    """A field's name as a form label, in English."""
    return name.replace("_", " ").capitalize()


def plain(value: Any) -> str:  # noqa: ANN401 - any setting
    """A setting in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{word}={weight:g}" for word, weight in value.items())
    if isinstance(value, tuple | list):
        return _("{start} to {end}", start=f"{value[0]:g}", end=f"{value[1]:g}")
    return f"{value:g}" if isinstance(value, float) else str(value)
