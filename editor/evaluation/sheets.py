"""Contact sheets: the clip, the right answer and what the presets made of it, for the best, median and worst tasks."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from editor.evaluation.records import Record, Store
from editor.evaluation.summary import EXACT
from editor.evaluation.tasks import KINDS, Task, draw
from editor.media import contact_sheet

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
