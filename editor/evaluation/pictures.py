"""The report's pictures, all inline: plots drawn from results alone, and contact sheets of single tasks."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from editor.evaluation.records import Record, Store
from editor.evaluation.summary import EXACT, overall, summarise
from editor.evaluation.tasks import KINDS, Task, draw
from editor.media import contact_sheet
from editor.request import PRESETS

Results = Mapping[str, Sequence[Record]]
PANELS = {
    "psnr": "PSNR to the right answer, dB (color, look)",
    "unchanged_psnr": "PSNR of the part that must stay, dB",
    "identification": "share of edits recognised",
    "temporal_error": "temporal error, levels (lower is better)",
}
OURS, THEIRS, OTHERS = "#0b6e4f", "#b5432a", "#8a8f98"


def quality_against_cost(results: Results) -> str | None:
    """Every configuration that has a cost, as a point in four panels; presets in colour. Returns a data URL."""
    points = {name: summarise(records) for name, records in results.items() if not _frame_count(name)}
    points = {name: summary for name, summary in points.items() if summary["unet_evaluations_per_frame"]}
    if not points:
        return None
    figure = Figure(figsize=(12, 8), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for name, summary in points.items():
            y = overall(summary) if metric == "identification" else summary[metric]
            if y is not None:
                _point(axes, name, summary["unet_evaluations_per_frame"], y)
        axes.set(title=title, xlabel="UNet evaluations per frame", xscale="log")
        axes.margins(0.15)  # names stand to the right of their points
        axes.grid(alpha=0.25)
    return as_url(figure)


def quality_against_frames(results: Results) -> str | None:
    """The preset `balanced` on more and fewer frames, on the tasks that all of them have. Returns a data URL."""
    counts = {name: records for name, records in results.items() if name == "balanced" or _frame_count(name)}
    if len(counts) < 2:
        return None
    shared = set.intersection(*({record.task for record in records} for records in counts.values()))
    points = []
    for records in counts.values():
        common = [record for record in records if record.task in shared]
        if common:
            points.append((common[0].frames, summarise(common)))
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, 4), PANELS.items(), strict=True):
        values = [(n, overall(s) if metric == "identification" else s[metric]) for n, s in sorted(points, key=_first)]
        known = [(n, value) for n, value in values if value is not None]
        axes.plot([n for n, _ in known], [value for _, value in known], "o-", color=OURS)
        axes.set(xlabel=f"frames ({len(shared)} tasks)")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.25)
    return as_url(figure)


def error_per_step(results: Results) -> str | None:
    """How far each preset's guess of the clean latents is from the right answer's, step by step. Returns a data URL."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    drawn = False
    for axes, kind in zip(figure.subplots(1, 4, sharey=True), ("color", "look", "subject", "place"), strict=True):
        for name in PRESETS:
            traces = [record.trace for record in results.get(name, ()) if record.kind == kind and record.trace]
            if traces:
                drawn = True
                mean = np.mean(traces, axis=0)
                axes.plot(np.arange(1, len(mean) + 1) / len(mean), mean, label=name, color=_color(name))
        axes.set(title=f"{kind} edits", xlabel="part of the steps done")
        axes.grid(alpha=0.25)
    if not drawn:
        return None
    figure.axes[0].set_ylabel("distance to the right latents")
    figure.axes[0].legend()
    return as_url(figure)


def as_url(figure: Figure) -> str:
    """The figure as a data URL of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _point(axes: Axes, name: str, x: float, y: float) -> None:
    preset = name in PRESETS
    axes.plot(x, y, "o", color=_color(name), markersize=8 if preset else 4)
    axes.annotate(
        name, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=8 if preset else 6, color=_color(name)
    )


def _color(name: str) -> str:
    if name == "fast":
        return "#2c7fb8"
    return {"balanced": OURS, "paper": THEIRS}.get(name, OTHERS)


def _frame_count(name: str) -> bool:
    """Whether a configuration is `balanced` on another number of frames."""
    return re.fullmatch(r"balanced_\d+_frames", name) is not None


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


SHOWN = ("balanced", "fast", "paper", "paper_tuned", "frame_by_frame", "sdedit")
"""The configurations on a sheet, as far as they were run."""


def chosen(records: Sequence[Record]) -> dict[str, Record]:
    """For each kind of edit the best, the median and the worst task, by a label that says so.

    Colours and looks are ranked by PSNR to the right answer; subjects and places by whether they were recognised and
    then by the part that must stay.
    """
    labelled = {}
    for kind in KINDS:
        ranked = sorted((r for r in records if r.kind == kind), key=_rank, reverse=True)
        places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
        for label, place in places.items():
            if ranked and ranked[place] not in labelled.values():
                labelled[f"{kind}, {label}"] = ranked[place]
    return labelled


def _rank(record: Record) -> tuple[float, ...]:
    if record.kind in EXACT:
        return (record.metrics["psnr"] or 0.0,)
    return (float(record.right), record.metrics["unchanged_psnr"] or 0.0)


def sheet(task: Task, store: Store, frames: int) -> str | None:
    """One task as a data URL of a WebP picture; None where no edited frames were kept."""
    edits = {name: store.frames(name, task.id, frames) for name in SHOWN}
    kept = {name: edit for name, edit in edits.items() if edit is not None}
    if not kept:
        return None
    size = next(iter(kept.values())).shape[1]
    drawn = draw(task, frames, size)
    rows: Mapping[str, np.ndarray] = {"clip": drawn.source, "right answer": drawn.truth, **kept}
    buffer = io.BytesIO()
    Image.fromarray(contact_sheet(rows, columns=frames, height=96)).save(buffer, "webp", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
