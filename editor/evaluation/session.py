"""One call of the command: where its results are, what they add up to, and how they become the repository's."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from editor.diffusion.catalog import locate
from editor.evaluation.configurations import Configuration, by_gain
from editor.evaluation.full_rate import Rows, kept, made_of
from editor.evaluation.harness import Harness
from editor.evaluation.records import COMMITTED, Record, Store, differences
from editor.evaluation.report import page
from editor.evaluation.summary import gains, score, summarise
from editor.evaluation.tasks import LISTED, Task, make_tasks
from editor.events import EditError
from editor.request import PRESETS

SEARCH = "search.json"


@dataclass(frozen=True)
class Evaluation:
    """Results under `out`: records, pictures, cached inversions, the search's table and the report.

    `committed`: the results that belong to the repository. `seed`: what the tasks were made with.
    """

    out: Path
    committed: Path
    harness: Harness
    seed: int
    say: Callable[[str], None]

    @classmethod
    def begin(cls, model: str, out: Path, clip: Path | None, say: Callable[[str], None], seed: int = LISTED) -> Self:
        """Find the model and make the folder. Raises `EditError` where one of them cannot be used."""
        revision = locate(model).revision
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EditError(
                f"'{out}' cannot be written: {error.strerror}. Choose another folder with --out."
            ) from error
        store = Store(_of_seed(out / "records", seed), _of_seed(out / "pictures", seed))
        harness = Harness(model, revision, store, out / "inversions", clip)
        return cls(out, _of_seed(COMMITTED, seed), harness, seed, say)

    @property
    def comparable(self) -> bool:
        """Whether the committed results are of this model."""
        return self.harness.model == "demo"

    def of_repository(self) -> Self:
        """This over the committed results, with the pictures that are here. Raises `EditError` for another model."""
        if not self.comparable:
            raise EditError("The committed results are of the built-in model only. Leave out --model.")
        return self._over(replace(self.harness.store, folder=self.committed))

    def _over(self, store: Store) -> Self:
        return replace(self, harness=replace(self.harness, store=store))

    def measure(
        self, configurations: Sequence[Configuration], tasks: Sequence[Task], workers: int, again: bool = False
    ) -> None:
        """Do what is not done yet, or everything `again`."""
        jobs = self.harness.left(configurations, tasks, again)
        self.say(f"{sum(len(job.tasks) for job in jobs)} results to measure in {self.out}")
        self.harness.run(jobs, workers, self.say)

    def search(
        self, grid: Sequence[Configuration], tasks: Sequence[Task], workers: int, again: bool, *, run: bool
    ) -> list[dict[str, Any]]:
        """Measure a grid; its rows, the greatest gain first. Rows of other grids and the same weights stay in the table
        on disk.
        """
        searching = self._over(Store(self.out / "searched"))
        if run:
            searching.measure(grid, tasks, workers, again)
        found = [(c, searching.harness.current(c, tasks)) for c in grid]
        measured = (_row(c, records, _reference(c, found)) for c, records in found if records)
        rows = sorted(measured, key=by_gain)
        known = [row for row in _rows(self.out / SEARCH) if row.get("revision") == self.harness.revision]
        others = [row for row in known if row["name"] not in {r["name"] for r in rows}]
        table = sorted([*rows, *others], key=by_gain)
        (self.out / SEARCH).write_text("[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]\n", encoding="utf-8")
        return rows

    def searched(self) -> list[dict[str, Any]]:
        """The search's rows: the committed ones for committed results, else those measured here before them."""
        committed = _rows(COMMITTED / SEARCH) if self.comparable else []
        own = self.harness.store.folder != self.committed
        return (_rows(self.out / SEARCH) if own else []) or committed

    def results(self, configurations: Iterable[Configuration], tasks: Sequence[Task]) -> dict[str, list[Record]]:
        """The records of `tasks` by configuration, where there are any of its present settings."""
        found = {c.name: self.harness.current(c, tasks) for c in configurations}
        return {name: records for name, records in found.items() if records}

    def other_seeds(self, configurations: Sequence[Configuration]) -> dict[int, dict[str, list[Record]]]:
        """Results on tasks made with other seeds than the listed ones, by seed."""
        folders = {int(p.name.split("-")[1]): p for p in self.harness.store.folder.glob("seed-*")}
        found = {
            seed: self._over(Store(folders[seed])).results(configurations, make_tasks(seed)) for seed in sorted(folders)
        }
        return {seed: results for seed, results in found.items() if results}

    def report(self, configurations: Sequence[Configuration], tasks: Sequence[Task]) -> Path:
        """Write the report of what there is on `tasks`."""
        path = self.out / ("report.html" if self.seed == LISTED else f"report-seed-{self.seed}.html")
        text = page(
            self.results(configurations, tasks),
            configurations,
            tasks,
            self.harness.store,
            self.searched(),
            seed=self.seed,
            other_seeds=self.other_seeds(configurations),
            full_rate={preset: self._carried(preset) for preset in PRESETS},
        )
        path.write_text(text, encoding="utf-8")
        self.say(f"report: {path}")
        return path

    def full_rate(self, preset: str) -> Path:
        """Where edits of few frames of a clip, the rest carried, are kept."""
        folder = self.harness.store.folder
        return (folder if folder == self.committed else _of_seed(self.out, self.seed)) / f"full-rate-{preset}.json"

    def _carried(self, preset: str) -> dict[str, Rows]:
        """What is in that file of today's weights and settings."""
        return kept(self.full_rate(preset), made_of(preset, self.harness.model, self.harness.revision))

    def compared(self, results: Mapping[str, Sequence[Record]]) -> tuple[int, list[str]]:
        """How many results were compared with the committed ones, and what differs."""
        fresh = [record for records in results.values() for record in records]
        return differences(fresh if self.comparable else [], Store(self.committed))

    def accept(self, results: Mapping[str, Sequence[Record]]) -> None:
        """Copy all results and tables into the repository. Raises `EditError` for another model."""
        if not self.comparable:
            raise EditError("Only results of the built-in model can be committed. Leave out --accept.")
        self.committed.mkdir(parents=True, exist_ok=True)
        for records in results.values():
            Store(self.committed).put(records)
        if (self.out / SEARCH).is_file():
            shutil.copyfile(self.out / SEARCH, COMMITTED / SEARCH)
        for place in map(self.full_rate, filter(self._carried, PRESETS)):
            shutil.copyfile(place, self.committed / place.name)
        self.say(f"kept in {self.committed}")


def _of_seed(folder: Path, seed: int) -> Path:
    """Where results on tasks of a seed are, below those on the listed tasks."""
    return folder if seed == LISTED else folder / f"seed-{seed}"


def _row(configuration: Configuration, records: Sequence[Record], reference: Sequence[Record]) -> dict[str, Any]:
    """One line of the search's table; `reference`: the records of its preset as shipped."""
    return {
        "name": configuration.name,
        "preset": configuration.preset,
        "fields": dict(configuration.fields),
        "revision": records[0].revision,
        "settings": configuration.settings(records[0].model),
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
