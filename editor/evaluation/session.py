"""One call of the command: where its results are, what they add up to, and how they become the repository's."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from editor.diffusion.catalog import locate
from editor.evaluation.compare import differences
from editor.evaluation.configurations import Configuration, by_gain
from editor.evaluation.harness import execute
from editor.evaluation.plan import Plan
from editor.evaluation.records import COMMITTED, Record, Store
from editor.evaluation.report import page
from editor.evaluation.summary import gains, score, summarise
from editor.evaluation.tasks import Task
from editor.events import EditError

SEARCH = "search.json"
REPORT = "report.html"


@dataclass(frozen=True)
class Evaluation:
    """Results under `out`: records, pictures, cached inversions, the search's table and the report."""

    out: Path
    plan: Plan
    say: Callable[[str], None]

    @classmethod
    def begin(cls, model: str, out: Path, clip: Path | None, say: Callable[[str], None]) -> Self:
        """Find the model and make the folder. Raises `EditError` where one of them cannot be used."""
        revision = locate(model).revision
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EditError(
                f"'{out}' cannot be written: {error.strerror}. Choose another folder with --out."
            ) from error
        store = Store(out / "records", out / "pictures")
        return cls(out, Plan(model, revision, store, out / "inversions", clip), say)

    @property
    def comparable(self) -> bool:
        """Whether the committed results are of this model."""
        return self.plan.model == "demo"

    def measure(
        self, configurations: Sequence[Configuration], tasks: Sequence[Task], workers: int, again: bool = False
    ) -> None:
        """Do what is not done yet, or everything `again`."""
        jobs = self.plan.left(configurations, tasks, again)
        self.say(f"{sum(len(job.tasks) for job in jobs)} results to measure in {self.out}")
        execute(self.plan, jobs, workers, self.say)

    def search(
        self, grid: Sequence[Configuration], tasks: Sequence[Task], workers: int, again: bool, *, run: bool
    ) -> list[dict[str, Any]]:
        """Measure a grid; its rows, the greatest gain first. Rows of other grids stay in the table on disk."""
        store = Store(self.out / "searched")
        plan = Plan(self.plan.model, self.plan.revision, store, self.plan.inversions, self.plan.clip)
        if run:
            jobs = plan.left(grid, tasks, again)
            self.say(f"{sum(len(job.tasks) for job in jobs)} results to measure in {self.out}")
            execute(plan, jobs, workers, self.say)
        found = [(c, plan.current(c, tasks)) for c in grid]
        rows = sorted((_row(c, records, _reference(c, found)) for c, records in found if records), key=by_gain)
        others = [row for row in _rows(self.out / SEARCH) if row["name"] not in {r["name"] for r in rows}]
        table = sorted([*rows, *others], key=by_gain)
        (self.out / SEARCH).write_text("[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]\n", encoding="utf-8")
        return rows

    def searched(self) -> list[dict[str, Any]]:
        """The search's rows: those measured here, else the committed ones."""
        return _rows(self.out / SEARCH) or (_rows(COMMITTED / SEARCH) if self.comparable else [])

    def results(self, configurations: Iterable[Configuration], tasks: Sequence[Task]) -> dict[str, list[Record]]:
        """The records of `tasks` by configuration, where there are any of its present settings."""
        found = {c.name: self.plan.current(c, tasks) for c in configurations}
        return {name: records for name, records in found.items() if records}

    def of_repository(self) -> "Evaluation":
        """This over the committed results, with the pictures that are here. Raises `EditError` for another model."""
        if not self.comparable:
            raise EditError("The repository has results of the built-in model only. Leave --model away.")
        return replace(self, plan=replace(self.plan, store=Store(COMMITTED, self.out / "pictures")))

    def report(self, configurations: Sequence[Configuration], tasks: Sequence[Task]) -> Path:
        """Write the report of what there is on `tasks`."""
        path = self.out / REPORT
        about = {c.name: c.about for c in configurations}
        ablations = {c.name: c.preset for c in configurations if c.ablation}
        text = page(self.results(configurations, tasks), about, tasks, self.plan.store, self.searched(), ablations)
        path.write_text(text, encoding="utf-8")
        self.say(f"report: {path}")
        return path

    def compared(self, results: Mapping[str, Sequence[Record]]) -> tuple[int, list[str]]:
        """How many results were compared with the committed ones, and what differs."""
        fresh = [record for records in results.values() for record in records]
        return differences(fresh if self.comparable else [], Store(COMMITTED))

    def accept(self, results: Mapping[str, Sequence[Record]]) -> None:
        """Copy results and the search's table into the repository. Raises `EditError` for another model."""
        if not self.comparable:
            raise EditError("Only results of the built-in model are kept in the repository. Leave --accept away.")
        COMMITTED.mkdir(exist_ok=True)
        for records in results.values():
            Store(COMMITTED).put(records)
        if (self.out / SEARCH).is_file():
            shutil.copyfile(self.out / SEARCH, COMMITTED / SEARCH)
        self.say(f"kept in {COMMITTED}")


def _row(configuration: Configuration, records: Sequence[Record], reference: Sequence[Record]) -> dict[str, Any]:
    """One line of the search's table; `reference`: the records of its preset as shipped."""
    return {
        "name": configuration.name,
        "preset": configuration.preset,
        "fields": dict(configuration.fields),
        "settings": configuration.settings(),
        "tasks": len(records),
        "score": score(records),
        "gains": gains(records, reference),
        "summary": summarise(records),
    }


def _reference(
    configuration: Configuration, found: Iterable[tuple[Configuration, Sequence[Record]]]
) -> Sequence[Record]:
    """The records of the configuration's preset as it is shipped, where the grid has it."""
    shipped = Configuration("", "", preset=configuration.preset).settings()
    return next((records for c, records in found if c.settings() == shipped), ())


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a search's table; none where there is no file. Those of a version without gains are left out."""
    if not path.is_file():
        return []
    rows: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [dict(row) for row in rows if "gains" in row]
