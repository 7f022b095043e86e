"""A loaded model that answers tasks and judges the results."""

from typing import Self

import cv2
import numpy as np

from editor.demo.judge import judged, load_judge
from editor.demo.world import SIZE
from editor.diffusion.models import Models, load_models
from editor.evaluation.clip_score import ClipScore
from editor.evaluation.configurations import Configuration
from editor.evaluation.metrics import identified, measure
from editor.evaluation.plan import Job, Plan
from editor.evaluation.records import Record, fingerprint
from editor.evaluation.run import Outcome, run
from editor.evaluation.tasks import alternatives, draw, rendered
from editor.settings import Settings
from editor.stages.cache import InversionCache

CACHE_BYTES = 4 * 10**9
"""For the inversions of a run; one of 50 steps takes 4 MB at the built-in model's size."""


class Worker:
    """A loaded model that does jobs and keeps the edited frames."""

    def __init__(self, plan: Plan, models: Models) -> None:
        self.plan = plan
        self.models = models
        self.cache = InversionCache(plan.inversions, CACHE_BYTES)
        self.judge = load_judge()
        self.clip = ClipScore(plan.clip) if plan.clip else None

    @classmethod
    def load(cls, plan: Plan) -> Self:
        """Load the plan's model."""
        return cls(plan, load_models(plan.model, Settings.from_env()))

    def do(self, job: Job) -> list[Record]:
        """Run one job: a record per task."""
        outcomes = run(job.configuration, job.tasks, self.models, self.cache)
        for outcome in outcomes:
            self.plan.store.keep_frames(job.configuration.name, outcome.task.id, outcome.frames)
        return [self._record(job.configuration, outcome) for outcome in outcomes]

    def _record(self, configuration: Configuration, outcome: Outcome) -> Record:
        task, frames = outcome.task, outcome.frames
        size = self.models.native_size
        drawn = draw(task, len(frames), size)
        answers = {value: rendered(scene, len(frames), size)[0] for value, scene in alternatives(task).items()}
        named, wanted = identified(frames, answers), getattr(task.target, task.kind)
        return Record(
            configuration=configuration.name,
            task=task.id,
            kind=task.kind,
            frames=len(frames),
            fingerprint=fingerprint(configuration, task, self.plan.revision),
            model=self.models.name if self.models.name == "demo" else "another",
            settings=configuration.settings(),
            metrics=measure(frames, drawn.truth, drawn.unchanged, drawn.changed),
            identified=named,
            right=named == str(wanted),
            evaluations=outcome.evaluations,
            rebuilt=outcome.rebuilt,
            trace=outcome.trace,
            seconds=outcome.seconds,
            notes=outcome.notes,
            extra={
                "judged": self.agreed(frames, task.kind, wanted),
                **(self.clip(frames, task.target_prompt) if self.clip else {}),
            },
        )

    def agreed(self, frames: np.ndarray, kind: str, wanted: str | None) -> float:
        """The share of frames in which a classifier of the world's pictures sees the wanted attribute."""
        small = [cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames]
        return float(np.mean([said[kind] == wanted for said in judged(self.judge, np.stack(small))]))
