"""The report: one HTML page with everything in it, written for somebody who does not know the project."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader

from editor.evaluation import tables
from editor.evaluation.configurations import Configuration
from editor.evaluation.full_rate import Rows
from editor.evaluation.pictures import (
    Results,
    chosen,
    error_per_step,
    quality_against_cost,
    quality_against_frames,
    sheet,
)
from editor.evaluation.records import Record, Store
from editor.evaluation.tables import Figure, Section
from editor.evaluation.tasks import LISTED, Task

TEMPLATE = "report.html.jinja"


def page(
    results: Results,
    configurations: Sequence[Configuration],
    tasks: Sequence[Task],
    store: Store,
    searched: Sequence[Mapping[str, Any]],
    *,
    seed: int = LISTED,
    other_seeds: Mapping[int, Results] = MappingProxyType({}),
    full_rate: Mapping[str, Mapping[str, Rows]] = MappingProxyType({}),
) -> str:
    """The whole page. `results` by configuration, of tasks made with `seed`; pictures come from `store`.

    `full_rate`: of a preset, edits of few frames with the rest carried, by task.
    """
    about = {c.name: c.about for c in configurations}
    ablations = {c.name: c.preset for c in configurations if c.ablation}
    whole = {name: records for name, records in results.items() if name not in ablations}
    template = Environment(loader=PackageLoader("editor.evaluation", "."), autoescape=True).get_template(TEMPLATE)
    listed = {task.id for task in tasks}
    stored = sum(task in listed for c in configurations for task in store.read(c.name))
    sections = [
        tables.comparison(whole, about),
        tables.ablations(results, about, ablations),
        tables.goals_reached(results),
        _plot("Quality against cost", quality_against_cost(whole), "Up and to the left is better."),
        _plot("Quality against the number of frames", quality_against_frames(results), "The preset balanced."),
        _plot("Error per step", error_per_step(whole), "Root mean square over the latents, mean over tasks."),
        tables.by_kind(results),
        tables.other_seeds(results, other_seeds),
        *(tables.full_rate(preset, by_task) for preset, by_task in full_rate.items()),
        _sheets(results, tasks, store),
        tables.search(searched),
        tables.single_tasks(results.get("balanced", ()), tasks),
    ]
    return template.render(
        sections=[s for s in sections if s.text or s.figures or s.rows],
        tasks=len(tasks),
        seed=seed,
        listed=LISTED,
        outdated=stored - sum(map(len, results.values())),
    )


def _plot(title: str, url: str | None, caption: str) -> Section:
    return Section(title, figures=[Figure(url, caption)] if url else ())


def _sheets(results: Results, tasks: Sequence[Task], store: Store) -> Section:
    named = {task.id: task for task in tasks}
    figures = []
    for label, record in chosen(results.get("balanced", ())).items():
        task = named[record.task]
        picture = sheet(task, store, record.frames)
        if picture:
            words = f"“{task.source_prompt}” → “{task.target_prompt}”"
            figures.append(Figure(picture, f"{label} ({task.id}): {words}. {_verdict(record)}"))
    text = "" if figures else "No edited frames were kept beside these results."
    return Section("Best, median and worst", text, figures)


def _verdict(record: Record) -> str:
    values = {"PSNR": record.metrics["psnr"], "part that stays": record.metrics["unchanged_psnr"]}
    numbers = ", ".join(f"{name} {value:.1f} dB" for name, value in values.items() if value is not None)
    return f"balanced: {numbers}, recognised as {record.identified}."
