"""The report's tables: what is said of configurations, kinds of edits, other seeds, a search and single tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editor.evaluation.configurations import by_gain
from editor.evaluation.full_rate import STRIDES, Rows
from editor.evaluation.metrics import METRICS
from editor.evaluation.pictures import Results
from editor.evaluation.records import Record
from editor.evaluation.summary import details, goals, interval, mean, score, summarise, values
from editor.evaluation.tasks import KINDS, Task
from editor.request import PRESETS

COLUMNS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "unchanged_psnr": "part that stays, dB",
    "changed_psnr": "changed part (colour edits), dB",
    "sharpness": "sharpness",
    "color_error": "colour error",
    **{kind: f"{kind} recognised" for kind in KINDS},
    "classified": "classifier agrees",
    "temporal_error": "temporal error",
    "warp_error": "warping error",
    "reconstruction_psnr": "clip reconstructed, dB",
    "clip_text": "CLIP text",
    "clip_frames": "CLIP frames",
    "unet_evaluations_per_frame": "UNet evaluations",
    "seconds": "seconds",
}
BRIEF = ("psnr", "unchanged_psnr", "changed_psnr", "sharpness", "color_error", *KINDS, "classified", "temporal_error")
"""What is said of tasks made with another seed."""

CHANGES = tuple(k for k in COLUMNS if not k.startswith("clip_") and k not in ("reconstruction_psnr", "seconds"))
"""What is said of an ablation."""


@dataclass(frozen=True)
class Cell:
    """`note`: a second, smaller line. `mark`: "yes" or "no", a colour."""

    text: str
    note: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table; the presets' lines stand out."""

    cells: Sequence[Cell]
    preset: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture as a data URL."""

    url: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the page; it is left out where it has neither text, figures nor rows."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    head: Sequence[str] = ()
    rows: Sequence[Row] = ()


def _values(records: Sequence[Record]) -> dict[str, float | None]:
    """All numbers of one configuration by column."""
    summary = summarise(records)
    return {**summary, **summary["identification"], **details(records)}


def _cells(records: Sequence[Record], columns: Iterable[str]) -> list[Cell]:
    """One configuration's numbers. A measure that is younger than some of the records says so."""
    found = _values(records)
    return [_cell(found[key], records, key) for key in columns]


def _cell(value: float | None, records: Sequence[Record], key: str) -> Cell:
    known = sum(key in record.metrics for record in records) if key in METRICS else len(records)
    if not known and records:
        return Cell("not measured")
    sure = interval(values(records, key)) if key in METRICS or key in KINDS else None
    notes = [] if sure is None else [" to ".join(map(_number, sure))]
    notes += [] if known == len(records) else [f"{known} of {len(records)}"]
    return Cell(_number(value), ", ".join(notes))


def comparison(results: Results, about: Mapping[str, str]) -> Section:
    """Every configuration; columns of which nobody asked anything, such as CLIP's, are left out."""
    everything = [_values(records) for records in results.values()]
    optional = {key for key in COLUMNS if key not in METRICS and all(values[key] is None for values in everything)}
    columns = [key for key in COLUMNS if key not in optional]
    rows = [
        _row(name, Cell(name, about.get(name, "")), Cell(str(len(records))), *_cells(records, columns))
        for name, records in results.items()
    ]
    head = ("configuration", "tasks", *(COLUMNS[key] for key in columns))
    text = "The small numbers below a mean: between which two it lies with 95 % confidence, over clips (bootstrap)."
    return Section("Presets and what they are compared with", text if rows else "", head=head, rows=rows)


def ablations(results: Results, about: Mapping[str, str], preset_of: Mapping[str, str]) -> Section:
    """What each ablation, listed with its preset, has more or less than that on the tasks that both were run on."""
    rows = []
    for name, preset in preset_of.items():
        changed, plain = ({r.task: r for r in results.get(n, ())} for n in (name, preset))
        both = [task for task in changed if task in plain]
        if both:
            ours, theirs = (_values([records[task] for task in both]) for records in (changed, plain))
            change = [
                _change(ours[key], theirs[key], *([r[t] for t in both] for r in (changed, plain)), key)
                for key in CHANGES
            ]
            rows.append(_row(name, Cell(name, about.get(name, "")), Cell(str(len(both))), *change))
    text = (
        "Differences from the preset on the same tasks; of errors, less is better. “Cannot be told apart”: clips drawn "
        "again at random from these (bootstrap, 95 %) give differences in both directions."
    )
    head = ("configuration", "tasks", *(COLUMNS[key] for key in CHANGES))
    return Section("With one thing changed", text if rows else "", head=head, rows=rows)


def goals_reached(results: Results) -> Section:
    """What the project set out to reach, and whether it is."""
    summaries = {name: summarise(records) for name, records in results.items()}
    verdicts = {True: Cell("reached", mark="yes"), False: Cell("not reached", mark="no"), None: Cell("not measured")}
    rows = [
        _row("", Cell(goal.text), Cell(_number(goal.value)), Cell(f"{goal.least:g} or more"), verdicts[goal.reached])
        for goal in goals(summaries)
    ]
    return Section("The goals", head=("goal", "measured", "wanted", ""), rows=rows)


def by_kind(results: Results) -> Section:
    """Means by kind of edit for the presets and the untouched clip."""
    metrics = [name for name in METRICS if name in COLUMNS]
    rows = []
    for kind in KINDS:
        for name in (*PRESETS, "untouched"):
            records = [r for r in results.get(name, ()) if r.kind == kind]
            if records:
                numbers = [_cell(mean(r.metrics.get(m) for r in records), records, m) for m in metrics]
                right = Cell(_number(mean(float(r.right) for r in records)))
                rows.append(_row(name, Cell(f"{kind}: {name}"), right, *numbers))
    return Section("By kind of edit", head=("edit", "recognised", *(COLUMNS[m] for m in metrics)), rows=rows)


def other_seeds(results: Results, others: Mapping[int, Results]) -> Section:
    """What was measured on tasks made with other seeds, below the same configuration on the listed ones."""
    rows = []
    for seed, theirs in others.items():
        for name, records in theirs.items():
            for label, found in (("listed tasks", results.get(name, ())), (f"seed {seed}", records)):
                if found:
                    cells = (Cell(f"{name}, {label}"), Cell(str(len(found))), *_cells(found, BRIEF))
                    rows.append(_row(name, *cells))
    seeds = ", ".join(map(str, others))
    text = f"Made like the listed tasks, with seed {seeds}, which we chose. The presets were not tuned on them."
    head = ("configuration", "tasks", *(COLUMNS[key] for key in BRIEF))
    return Section("On tasks made with another seed", text if rows else "", head=head, rows=rows)


SPREAD = {
    "psnr": "PSNR, dB",
    "between": "frames between, dB",
    "unchanged": "part that stays, dB",
    "temporal": "temporal error",
    "warp": "warping error",
    "evaluations": "UNet evaluations",
}
WAYS = {
    "truth": "the right answer itself",
    "all": "every frame edited",
    "held": "every {}, held until the next",
    "carried": "every {}, the rest carried along the clip's motion",
    "agreed": "every {}, averaged with its neighbours, the rest carried: as it is done",
}


def full_rate(preset: str, by_task: Mapping[str, Rows]) -> Section:
    """Few frames of a clip edited and the rest held or carried, against editing them all."""
    rows = []
    for name in next(iter(by_task.values()), {}):
        way, _, stride = name.partition("_")
        cells = []
        for key in SPREAD:
            known = {task: found[name][key] for task, found in by_task.items() if found[name][key] is not None}
            sure = interval(known) if key != "evaluations" else None
            value = None if way == "truth" and key in ("psnr", "unchanged") else mean(known.values())
            cells.append(Cell(_number(value), "" if sure is None or value is None else " to ".join(map(_number, sure))))
        rows.append(_row("", Cell(WAYS[way].format(STRIDES[int(stride)] if stride else "")), *cells))
    text = (
        f"{len(by_task)} edits of 24 frames with {preset}; keyframes are every 3rd or 6th frame. The right answer "
        "itself has a warping error, since motion is estimated; UNet evaluations are per frame of the result."
    )
    head = ("frames", *SPREAD.values())
    return Section(f"Few frames edited, the rest carried: {preset}", text if rows else "", head=head, rows=rows)


def search(searched: Sequence[Mapping[str, Any]]) -> Section:
    """Rows of the search, those that gain most first."""
    if not searched:
        return Section("The search")
    keys = [key for key in COLUMNS if key in KINDS or any(key in row["summary"] for row in searched)]
    rows = []
    for row in sorted(searched, key=by_gain):
        found = {**row["summary"], **row["summary"]["identification"]}
        fields = ", ".join(f"{k} {v}" for k, v in row["fields"].items()) or "unchanged"
        gained = [Cell("–" if gain is None else f"{gain:+.2f}") for gain in row["gains"].values()]
        numbers = [Cell(_number(found[key]) if key in found else "not measured") for key in keys]
        name = Cell(row["name"], f"{row['preset']}: {fields}")
        rows.append(_row(row["name"], name, Cell(str(row["tasks"])), *gained, *numbers))
    weights = " and ".join(sorted({row.get("revision", "an earlier version") for row in searched}))
    text = (
        f"Measured on the search half, with the weights of {weights}. Gain: how much more a configuration scores than "
        f"its preset on the same tasks, over all of them and by kind of edit. The score: {_second_paragraph(score)}"
    )
    if any("color_error" not in row["summary"] for row in searched):
        text += " Rows without a colour error were scored before it and sharpness counted, the classifier as one half."
    gained = ("gain", *(f"in {kind} edits" for kind in KINDS))
    head = ("configuration", "tasks", *gained, *(COLUMNS[key] for key in keys))
    return Section("The search", text, head=head, rows=rows)


def _second_paragraph(function: object) -> str:
    """What the score adds up, from where it is defined."""
    return " ".join((function.__doc__ or "").split("\n\n")[1].split())


def single_tasks(records: Sequence[Record], tasks: Sequence[Task]) -> Section:
    """Every task of `balanced`."""
    metrics = ("psnr", "unchanged_psnr", "changed_psnr", "sharpness", "color_error", "temporal_error")
    named = {task.id: task for task in tasks}
    rows = []
    for record in records:
        numbers = [_cell(record.metrics.get(m), [record], m) for m in metrics]
        words = f"{record.task}: {named[record.task].source_prompt} → {named[record.task].target_prompt}"
        verdict = Cell(record.identified, mark="yes" if record.right else "no")
        rows.append(_row("", Cell(words, "; ".join(record.notes)), *numbers, verdict))
    head = ("task", *(COLUMNS[m] for m in metrics), "recognised as")
    return Section("Every task of balanced", head=head, rows=rows)


def _change(ours: float | None, theirs: float | None, changed: list[Record], plain: list[Record], key: str) -> Cell:
    """A difference of means, and whether it is more than chance: the interval of what differs task by task."""
    if ours is None or theirs is None:
        return Cell("–")
    before = values(plain, key)
    differing = {task: value - before[task] for task, value in values(changed, key).items() if task in before}
    sure = interval(differing) if key in METRICS or key in KINDS else None
    unsure = sure is not None and sure[0] <= 0 <= sure[1]
    return Cell(f"{ours - theirs:+.2f}", "cannot be told apart" if unsure else "")


def _row(name: str, *cells: Cell) -> Row:
    return Row(cells, preset=name in PRESETS)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}"
