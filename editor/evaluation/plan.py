"""What there is to do: which results are missing, as jobs of one clip and one configuration. Imports no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from editor.evaluation.configurations import Configuration
from editor.evaluation.records import Record, Store, fingerprint
from editor.evaluation.tasks import Task, by_clip
from editor.method.branches import Outline, planned_evaluations

BESIDE = 20.0
"""What drawing, the VAE and the metrics take per task, in UNet evaluations per frame; only for the time left."""


@dataclass(frozen=True)
class Job:
    """Some tasks of one clip for one configuration."""

    configuration: Configuration
    tasks: tuple[Task, ...]

    @property
    def work(self) -> float:
        """About how much it is, in UNet evaluations of one frame; only for the time left."""
        edits = len(self.tasks) * BESIDE
        if self.configuration.how in ("edit", "sdedit"):
            request = self.configuration.request(self.tasks, "demo")
            edits += sum(planned_evaluations(request, [Outline.swap(request)] * len(self.tasks)).values())
        return edits * self.configuration.frames


@dataclass(frozen=True)
class Plan:
    """What to run with: the model by name and its revision, where results go, and a CLIP folder for its scores."""

    model: str
    revision: str
    store: Store
    inversions: Path
    clip: Path | None = None

    def left(self, configurations: Iterable[Configuration], tasks: Sequence[Task], again: bool = False) -> list[Job]:
        """What has no result of the same fingerprint yet (`again`: everything), clip by clip."""
        jobs = []
        listed = tuple(configurations)
        done = {c.name: set() if again else {record.task for record in self.current(c, tasks)} for c in listed}
        for group in by_clip(tasks):
            for configuration in listed:
                within = set(tasks[: configuration.first])
                open_tasks = (t for t in group if t in within and t.id not in done[configuration.name])
                if chosen := tuple(open_tasks):
                    jobs.append(Job(configuration, chosen))
        return jobs

    def current(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Record]:
        """The results there are for the configuration's present settings, in the order of `tasks`."""
        kept = self.store.read(configuration.name)
        records = ((task, kept[task.id]) for task in tasks if task.id in kept)
        return [r for task, r in records if r.fingerprint == fingerprint(configuration, task, self.revision)]
