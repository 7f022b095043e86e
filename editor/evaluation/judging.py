"""A loaded model that answers tasks, and what is measured of the edits: metrics, the world's classifier, CLIP."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from editor.demo.judge import judged, load_judge
from editor.demo.world import SIZE
from editor.diffusion.models import Models, load_models
from editor.evaluation.attempts import Attempt, attempt
from editor.evaluation.configurations import Configuration
from editor.evaluation.metrics import identified, measure
from editor.evaluation.records import Record, Store, fingerprint
from editor.evaluation.tasks import Task, alternatives, draw, rendered
from editor.events import EditError, EditResult
from editor.media import spread_frames
from editor.settings import Settings
from editor.stages.cache import InversionCache
from editor.stages.quality import ClipScore

SEEN = 32
"""Frames of a finished edit that CLIP looks at, spread over it."""
CACHE_BYTES = 4 * 10**9
"""For the inversions of a run; one of 50 steps takes 4 MB at the built-in model's size."""


class Evaluator:
    """A loaded model that edits tasks, keeps the frames and measures them."""

    def __init__(
        self, models: Models, model: str, revision: str, store: Store, inversions: Path, clip: Path | None
    ) -> None:
        self.models, self.model, self.revision = models, model, revision
        self.store = store
        self.cache = InversionCache(inversions, CACHE_BYTES)
        self.judge = load_judge()
        self.clip = ClipScore(str(clip)) if clip else None

    @classmethod
    def load(cls, model: str, revision: str, store: Store, inversions: Path, clip: Path | None = None) -> Self:
        """Load the model of that name; the rest as in `Harness`."""
        return cls(load_models(model, Settings.from_env()), model, revision, store, inversions, clip)

    def do(self, configuration: Configuration, tasks: Sequence[Task]) -> list[Record]:
        """Edit tasks of one clip: a record per task."""
        attempts = attempt(configuration, tasks, self.models, self.cache)
        for made in attempts:
            self.store.keep_frames(configuration.name, made.task.id, made.frames)
        return [self._record(configuration, made) for made in attempts]

    def _record(self, configuration: Configuration, made: Attempt) -> Record:
        task, frames = made.task, made.frames
        size = self.models.native_size
        drawn = draw(task, len(frames), size)
        answers = {value: rendered(scene, len(frames), size)[0] for value, scene in alternatives(task).items()}
        named, wanted = identified(frames, answers), getattr(task.target, task.kind)
        return Record(
            configuration=configuration.name,
            model=self.models.name if self.models.name == "demo" else "another",
            revision=self.revision,
            frames=len(frames),
            settings=configuration.settings(self.model),
            task=task.id,
            kind=task.kind,
            fingerprint=fingerprint(task),
            metrics={
                **measure(frames, drawn.truth, drawn.unchanged, drawn.changed),
                "classified": self.classified(frames, task.kind, wanted),
                **(self.clip(frames, task.target_prompt) if self.clip else {}),
            },
            identified=named,
            right=named == str(wanted),
            stage_unet_evaluations=made.stage_unet_evaluations,
            reconstruction_psnr=made.reconstruction_psnr,
            trace=made.trace,
            seconds=made.seconds,
            notes=made.notes,
        )

    def classified(self, frames: np.ndarray, kind: str, wanted: str | None) -> float:
        """The share of frames in which the classifier of the world's pictures sees the wanted attribute."""
        small = [cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames]
        return float(np.mean([said[kind] == wanted for said in judged(self.judge, np.stack(small))]))


def score_result(folder: Path, score: ClipScore) -> dict[str, float | None]:
    """CLIP's opinion of a finished edit of any clip: its `folder` holds the edited video and the manifest.

    Raises `EditError` for a folder that holds no finished edit.
    """
    result = EditResult("", folder, {})
    try:
        manifest = result.read_manifest()
        target = str(manifest["target"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EditError(
            f"There is no finished edit in '{folder}'. Give a folder that `python -m editor edit` wrote, such as "
            "results/0, with its manifest.json and edited.mp4."
        ) from error
    return score(spread_frames(result.edited, SEEN), target)
