"""The report: one HTML page with everything in it, written for somebody who does not know the project."""

from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

from editor.evaluation.configurations import by_gain
from editor.evaluation.goals import goals
from editor.evaluation.plots import error_per_step, quality_against_cost, quality_against_frames
from editor.evaluation.records import Record, Store
from editor.evaluation.sheets import chosen, sheet
from editor.evaluation.summary import details, score, summarise
from editor.evaluation.tasks import KINDS, Task
from editor.request import PRESETS

Results = Mapping[str, Sequence[Record]]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1f23; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem } h2 { margin-top: 2.2rem; font-size: 1.25rem } p { max-width: 46rem }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #dfe2e6; text-align: right; white-space: nowrap }
th:first-child, td:first-child, td.text { text-align: left; white-space: normal }
tr.preset { background: #eaf5f0; font-weight: 600 } .yes { color: #0b6e4f } .no { color: #b5432a }
div.wide { overflow-x: auto } img { max-width: 100% } figure { margin: 1rem 0 } figcaption { font-size: 13px }
"""

INTRODUCTION = """
<p>Every task is a clip of a drawn world, a sentence that says what it shows, and a sentence that says what it should
show instead. Because the world is drawn, the right answer is known: the same clip with one attribute changed. The
seeds of these clips were never trained on, and settings are searched on other tasks than those reported here.</p>
<p>PSNR and SSIM compare with the right answer, for colour and look edits. Of a subject or a place only the name is
given, so those are judged by whether the result is nearer to the right answer than to any other subject or place
("recognised"), and by the part that must stay as it is. The temporal error is by how much frame-to-frame changes differ
from those of the right answer, the warping error how much a point that moves along changes, both in levels of 255. A
classifier that was trained on the world's pictures, and never on edits, says in how many frames it sees what was asked
for: unlike the comparison with the right answer it does not mind where and how large a new subject stands. Work is
counted in UNet evaluations per frame, since that does not depend on the machine.</p>
"""

COLUMNS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "unchanged_psnr": "part that stays, dB",
    "changed_psnr": "changed part (color), dB",
    **{kind: f"{kind} recognised" for kind in KINDS},
    "judged": "classifier agrees",
    "temporal_error": "temporal error",
    "warp_error": "warping error",
    "rebuilt": "clip rebuilt, dB",
    "clip_text": "CLIP text",
    "clip_frames": "CLIP frames",
    "unet_evaluations_per_frame": "UNet evaluations",
    "seconds": "seconds",
}

CHANGES = tuple(key for key in COLUMNS if not key.startswith("clip_") and key not in ("rebuilt", "seconds"))
"""What is said of an ablation."""


def page(
    results: Results,
    about: Mapping[str, str],
    tasks: Sequence[Task],
    store: Store,
    searched: Sequence[Mapping[str, Any]],
    ablations: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The whole page. `results` by configuration, `about` says what each is; pictures come from `store`.

    `ablations`: which configurations are to be compared with which preset, on the same tasks.
    """
    summaries = {name: summarise(records) for name, records in results.items()}
    whole = {name: records for name, records in results.items() if name not in ablations}
    parts = [
        f"<h1>How far edits are from the right answer</h1><p>{len(tasks)} tasks at most.</p>{INTRODUCTION}",
        f"<h2>Presets and what they are compared with</h2>{_comparison(whole, about)}",
        _ablations(results, about, ablations),
        f"<h2>The goals</h2>{_goals(summaries)}",
        _figure("Quality against cost", quality_against_cost(whole), "Up and to the left is better."),
        _figure("Quality against the number of frames", quality_against_frames(results), "The preset balanced."),
        _figure("Error per step", error_per_step(whole), "Root mean square over the latents, mean over tasks."),
        f"<h2>By kind of edit</h2>{_by_kind(results)}",
        f"<h2>Best, median and worst</h2>{_sheets(results, tasks, store)}",
        f"<h2>The search</h2>{_search(searched)}" if searched else "",
        f"<h2>Every task of balanced</h2>{_tasks(results.get('balanced', ()), tasks)}",
    ]
    head = f'<meta charset="utf-8"><title>Recast: evaluation</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _flat(records: Sequence[Record]) -> dict[str, float | None]:
    """All numbers of one configuration by column."""
    summary = summarise(records)
    return {**summary, **summary["identification"], **details(records)}


def _comparison(results: Results, about: Mapping[str, str]) -> str:
    rows = {name: _flat(records) for name, records in results.items()}
    columns = {key: title for key, title in COLUMNS.items() if any(row[key] is not None for row in rows.values())}
    body = [
        (name, [_name(name, about.get(name, "")), str(len(results[name])), *(_number(row[key]) for key in columns)])
        for name, row in rows.items()
    ]
    return _table(["configuration", "tasks", *columns.values()], body)


def _ablations(results: Results, about: Mapping[str, str], ablations: Mapping[str, str]) -> str:
    """What each ablation has more or less than its preset on the tasks that both were run on; nothing without any."""
    rows = []
    for name, preset in ablations.items():
        changed, plain = ({r.task: r for r in results.get(n, ())} for n in (name, preset))
        both = [task for task in changed if task in plain]
        if both:
            ours, theirs = (_flat([records[task] for task in both]) for records in (changed, plain))
            change = [_difference(ours[key], theirs[key]) for key in CHANGES]
            rows.append((name, [_name(name, about.get(name, "")), str(len(both)), *change]))
    if not rows:
        return ""
    text = "<p>Differences to the preset on the same tasks; of the errors, less is better.</p>"
    table = _table(["configuration", "tasks", *(COLUMNS[key] for key in CHANGES)], rows)
    return f"<h2>With one thing changed</h2>{text}{table}"


def _difference(ours: float | None, theirs: float | None) -> str:
    return "–" if ours is None or theirs is None else f"{ours - theirs:+.2f}"


def _goals(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    words = {
        True: '<span class="yes">reached</span>',
        False: '<span class="no">not reached</span>',
        None: "not measured",
    }
    rows = [
        ("", [escape(goal.text), _number(goal.value), f"{goal.least:g} or more", words[goal.reached]])
        for goal in goals(summaries)
    ]
    return _table(["goal", "measured", "wanted", ""], rows)


def _by_kind(results: Results) -> str:
    """Means by kind of edit for the presets and the untouched clip."""
    metrics = ("psnr", "ssim", "unchanged_psnr", "changed_psnr", "temporal_error", "warp_error")
    rows = []
    for kind in KINDS:
        for name in (*PRESETS, "untouched"):
            records = [r for r in results.get(name, ()) if r.kind == kind]
            if records:
                values = [[r.metrics[m] for r in records if r.metrics[m] is not None] for m in metrics]
                means = [_number(sum(v) / len(v) if v else None) for v in values]
                right = _number(sum(r.right for r in records) / len(records))
                rows.append((name, [f"{kind}: {name}", *means, right]))
    return _table(["edit", *(COLUMNS.get(m, m) for m in metrics), "recognised"], rows)


def _sheets(results: Results, tasks: Sequence[Task], store: Store) -> str:
    named = {task.id: task for task in tasks}
    figures = []
    for label, record in chosen(results.get("balanced", ())).items():
        task = named[record.task]
        picture = sheet(task, store, record.frames)
        if picture:
            text = f"{label} ({task.id}): “{task.source_prompt}” → “{task.target_prompt}”. {_verdict(record)}"
            figures.append(_picture(picture, text))
    return "".join(figures) or "<p>No edited frames were kept beside these results.</p>"


def _verdict(record: Record) -> str:
    values = {"PSNR": record.metrics["psnr"], "part that stays": record.metrics["unchanged_psnr"]}
    numbers = ", ".join(f"{name} {value:.1f} dB" for name, value in values.items() if value is not None)
    return f"balanced: {numbers}, recognised as {record.identified}."


def _search(searched: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the search, those that gain most first."""
    keys = [key for key in COLUMNS if key in searched[0]["summary"] or key in KINDS]
    rows = []
    for row in sorted(searched, key=by_gain):
        flat = {**row["summary"], **row["summary"]["identification"]}
        fields = ", ".join(f"{k} {v}" for k, v in row["fields"].items()) or "as it is"
        gained = ["–" if gain is None else f"{gain:+.2f}" for gain in row["gains"].values()]
        numbers = [_number(flat[key]) for key in keys]
        cells = [_name(row["name"], f"{row['preset']}: {fields}"), str(row["tasks"]), *gained, *numbers]
        rows.append((row["name"], cells))
    text = (
        "<p>Measured on the search half. Gain: how much more a setting scores than its preset on the same tasks, over "
        f"all of them and by kind of edit. The score: {escape(_first_sentence(score))}</p>"
    )
    gained = ["gain", *(f"in {kind} edits" for kind in KINDS)]
    return text + _table(["setting", "tasks", *gained, *(COLUMNS[key] for key in keys)], rows)


def _first_sentence(function: object) -> str:
    """What the score adds up, from where it is defined."""
    return " ".join((function.__doc__ or "").split("\n\n")[1].split())


def _tasks(records: Sequence[Record], tasks: Sequence[Task]) -> str:
    named = {task.id: task for task in tasks}
    rows = []
    for record in records:
        numbers = [_number(record.metrics[m]) for m in ("psnr", "unchanged_psnr", "changed_psnr", "temporal_error")]
        words = f"{record.task}: {named[record.task].source_prompt} → {named[record.task].target_prompt}"
        notes = f"<br><small>{escape('; '.join(record.notes))}</small>" if record.notes else ""
        verdict = "yes" if record.right else "no"
        rows.append(
            ("", [escape(words) + notes, *numbers, f'<span class="{verdict}">{escape(record.identified)}</span>'])
        )
    return _table(["task", "PSNR, dB", "part that stays", "changed part", "temporal error", "recognised as"], rows)


def _name(name: str, about: str) -> str:
    return f"{escape(name)}<br><small>{escape(about)}</small>" if about else escape(name)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 2 else f"{value:.1f}"


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Cells are HTML. A row is (name, cells); the presets' rows are marked."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    marked = {name: ' class="preset"' if name in PRESETS else "" for name, _ in rows}
    lines = ((marked[name], "".join(f"<td>{cell}</td>" for cell in cells)) for name, cells in rows)
    body = "".join(f"<tr{mark}>{line}</tr>" for mark, line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure(title: str, url: str | None, text: str) -> str:
    return f"<h2>{title}</h2>{_picture(url, text)}" if url else ""


def _picture(url: str, text: str) -> str:
    return f'<figure><img src="{url}" alt="{escape(text)}"><figcaption>{escape(text)}</figcaption></figure>'
