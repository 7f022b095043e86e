"""What the page does when something is clicked, without any component: the desk between the form and the job service.

Methods return plain values; `editor.web.page` puts them into components.
"""

import filecmp
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from editor.events import EditError
from editor.jobs import JobService, JobView, UnknownJob, as_allowed, temporary_folder
from editor.manifest import Recalled, read_settings, recalled_from, stepped
from editor.media import Interval, Limits, Probe, normalise, plan_interval, probe
from editor.method.control import control
from editor.presets import STRENGTHS
from editor.reading import read_edit
from editor.request import PRESETS, EditRequest
from editor.web import texts
from editor.web.admission import allowed_here
from editor.web.door.uploads import drop_upload, uploaded
from editor.web.estimate import Cost, Pace
from editor.web.examples import Example, film, used_frames
from editor.web.texts import _, heard
from editor.web.view import Json, page_view, unknown_view
from editor.web.words import beyond_budget, marked, unknown_words

SHARED = ("source", "model", "start", "end", "key_fps", "max_frames", "size", "steps", "inversion", "inversion_prompt")
"""Settings that an inversion depends on, besides the clip's bytes."""
TAKEN_SECONDS = 120.0
"""Of a new clip so much is taken at first as the default preset edits in this time; more can be chosen."""
SHORTEST = 1.0
"""Seconds of it that are taken however long they take."""
SAME_TAKE = ("source", "targets", "preset", "model", "start", "end", "region", "region_at")
"""What jobs have in common, besides their clip, that are shown as takes of one edit."""


@dataclass(frozen=True)
class Chosen:
    """The clip in the form: a normalised file, from an upload, an example or an earlier job."""

    path: Path
    url: str
    name: str
    info: Probe
    start: float
    end: float
    """Seconds; the interval to edit."""
    job: str | None = None
    """The earlier job it comes from."""
    region: str = ""
    """Where the edit may act, as a request has it, painted on the frame at `region_at` seconds."""
    region_at: float = 0.0

    @property
    def interval(self) -> tuple[float, float | None]:
        """Start and end as a request names them: no end where it is the clip's."""
        return self.start, None if self.end >= self.info.seconds else self.end


class Desk:
    """Serves one installation; every method may be called from any thread."""

    def __init__(self, service: JobService, pace: Pace, examples: Sequence[Example]) -> None:
        self.service = service
        self.settings = service.settings
        self.pace = pace
        self.examples = tuple(examples)
        self.models = tuple(dict.fromkeys((self.settings.model, *self.settings.models)))
        """The names that the page offers."""

    def take_upload(self, path: str) -> tuple[Chosen | None, Recalled | None]:
        """Normalise an upload and delete the raw file; also the settings that stand inside it. Raises `EditError`.

        A file of settings brings no clip.
        """
        raw = uploaded(path, self.settings)
        try:
            if raw.suffix.lower() == ".json":
                return None, self._here(read_settings(raw))
            found = recalled_from(raw)
            return self._normalised(raw, raw.name), found and self._here(found)
        finally:
            drop_upload(raw)

    def take_settings(self, path: str) -> Recalled:
        """The settings of an earlier edit that an uploaded file holds, as they can be used here. Raises `EditError`."""
        raw = uploaded(path, self.settings)
        try:
            return self._here(read_settings(raw))
        finally:
            drop_upload(raw)

    def _here(self, found: Recalled) -> Recalled:
        return allowed_here(found, self.settings, self.models)

    def take_example(self, index: int) -> tuple[Chosen, Example]:
        """An example clip, and its sentences. Raises `EditError`."""
        example = self.example(index)
        return self._normalised(example.file, example.title), example

    def example(self, index: int) -> Example:
        """The example of this number. Raises `EditError`."""
        if not 0 <= index < len(self.examples):
            raise EditError(_("There is no such example."))
        return self.examples[index]

    def show_example(self, index: int) -> Json:
        """An example's finished edit as the stage shows it, an empty stage where there is none. Raises `EditError`."""
        view = self.example(index).view(index)
        return {"job": None} if view is None else {"job": None, "example": index, "view": view}

    def first_sight(self) -> Json:
        """What the stage shows to somebody who has not done anything yet: the first finished example."""
        shown = (self.show_example(index) for index, example in enumerate(self.examples) if example.edited)
        return next(shown, {"job": None})

    def take_job(self, job_id: str) -> tuple[Chosen, EditRequest]:
        """The clip and the request of an earlier job. Raises `EditError`."""
        job = self.service.view(job_id)
        if job.clip is None:
            raise EditError(_(texts.CLIP_LEFT))
        request = EditRequest.from_dict(job.request)
        info = probe(job.clip)
        end = min(request.end or info.seconds, info.seconds)
        url = f"job/{job.id}/clip.mp4"
        where = {"region": request.region, "region_at": request.region_at}
        return Chosen(job.clip, url, _("From an earlier edit"), info, request.start, end, job.id, **where), request

    def stepped(self, job_id: str, step: int) -> tuple[Chosen, EditRequest]:
        """The clip of an earlier job and its request, one step stronger or closer to the clip. Raises `EditError`."""
        chosen, request = self.take_job(job_id)
        return chosen, stepped(request, step)

    def takes(self, job: JobView, owner: str | None) -> list[Json]:
        """A job and the visitor's others that differ from it in their strength alone, from gentle to strong."""

        def frame(other: JobView) -> tuple:
            return tuple(other.request.get(name) for name in SAME_TAKE)

        def same(other: JobView) -> bool:
            if other.id == job.id:
                return True
            clips = job.clip, other.clip
            return frame(other) == frame(job) and None not in clips and filecmp.cmp(*clips)

        known = {other.id: other for other in (job, *(self.service.history(owner) if owner else ())) if same(other)}
        found = [(str(other.request.get("strength")), other) for other in known.values()]
        found = [take for take in found if take[0] in STRENGTHS]
        found.sort(key=lambda take: (STRENGTHS.index(take[0]), take[1].created))
        return [{"id": other.id, "label": _(texts.STRENGTHS[strength])} for strength, other in found]

    def _normalised(self, raw: Path, name: str) -> Chosen:
        folder = temporary_folder(self.settings) / uuid.uuid4().hex
        folder.mkdir(parents=True)
        clip = folder / "clip.mp4"
        try:
            info = normalise(raw, clip, Limits.from_settings(self.settings))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        end = self._first_end(info)
        if end < info.seconds:
            info = replace(info, notes=(*info.notes, _(texts.TAKEN, end=end, seconds=info.seconds)))
        return Chosen(clip, f"gradio_api/file={clip}", name[:60], info, 0.0, end)

    def _first_end(self, info: Probe) -> float:
        """Seconds up to which a new clip is taken: all of it, or as much as is edited in `TAKEN_SECONDS`."""
        words = {"source": texts.SOURCE_HINT, "targets": (texts.TARGETS_HINT,)}
        asked = as_allowed(EditRequest.from_preset(model=self.settings.model, **words), self.settings)
        most = max(round(SHORTEST * asked.key_fps), self.pace.within(asked, TAKEN_SECONDS))
        interval = plan_interval(info, key_fps=asked.key_fps, max_frames=min(most, asked.max_frames))
        return min(round(interval.end, 1), info.seconds)

    def card(self, chosen: Chosen) -> Json:
        """The clip as the form's card shows it."""
        shown = {k: getattr(chosen, k) for k in ("url", "name", "start", "end", "region", "region_at")}
        return {
            **shown,
            "seconds": chosen.info.seconds,
            "notes": [*map(heard, chosen.info.notes)],
            "film": film(chosen.path),
        }

    def used(self, chosen: Chosen, request: EditRequest) -> tuple[str, Interval]:
        """The frames that will be edited as one picture, and the interval. Raises `EditError`."""
        request = as_allowed(request, self.settings)
        return used_frames(chosen.path, *chosen.interval, request.key_fps, request.max_frames)

    def cost(self, chosen: Chosen, request: EditRequest) -> tuple[Cost, bool]:
        """What `request` will take, and whether an earlier inversion will be reused. Raises `EditError`.

        Sentences may still be missing; everything else must be in order.
        """
        replace(request, source=request.source or "-", targets=request.targets or ("-",)).validated()
        request = as_allowed(request, self.settings)
        interval = plan_interval(chosen.info, *chosen.interval, request.key_fps, request.max_frames)
        reused = self.reuses(chosen, request)
        return self.pace.cost(request, len(interval.keyframes), reused), reused

    def reuses(self, chosen: Chosen, request: EditRequest) -> bool:
        """Whether the clip's earlier job inverted it just as `request` would."""
        if chosen.job is None:
            return False
        try:
            job = self.service.view(chosen.job)
            earlier = EditRequest.from_dict(job.request)
        except EditError:
            return False
        same = all(getattr(earlier, name) == getattr(request, name) for name in SHARED)
        return same and bool(job.results)

    def submit(self, chosen: Chosen, request: EditRequest, owner: str, address: str) -> JobView:
        """Queue an edit of the chosen clip. Raises `EditError`."""
        if chosen.job is not None:
            return self.service.submit_again(chosen.job, request, owner, address)
        if not chosen.path.is_file():
            raise EditError(_(texts.CLIP_LEFT))
        return self.service.submit_normalised(chosen.path, request, owner, address)

    def preset_seconds(self, chosen: Chosen, request: EditRequest) -> dict[str, float]:
        """What each preset would take for this clip and these sentences, in seconds."""
        values = {name: getattr(request, name) for name in ("source", "targets", "model", "size", "max_frames")}
        costs = {}
        for name in PRESETS:
            asked = as_allowed(EditRequest.from_preset(name, **values), self.settings)
            interval = plan_interval(chosen.info, *chosen.interval, asked.key_fps, asked.max_frames)
            costs[name] = self.pace.cost(asked, len(interval.keyframes)).seconds
        return costs

    def open(self, job_id: str, owner: str | None) -> Json:
        """A job as the stage shows it; one that no longer exists is reported as such."""
        try:
            job = self.service.view(job_id, owner)
        except (UnknownJob, ValueError):
            return {"job": None, "view": unknown_view("", _(texts.GONE))}
        return {"job": job.id, "mine": job.mine, "view": page_view(job), "takes": self.takes(job, owner)}

    def history(self, owner: str | None) -> list[Json]:
        """The visitor's edits, newest first, for the list below the page."""
        return [_history_row(job) for job in self.service.history(owner)] if owner else []

    def advice(self, source: str, targets: Sequence[str], request: EditRequest) -> list[Json]:
        """For each target: its words marked against the source's, and what `request` makes of that."""
        if not source.strip():
            return []
        rows = []
        for target in targets:
            reading = read_edit(source, target)
            meaning = control(reading, request).meaning
            rows.append({"marked": marked(reading), "kind": str(reading.kind), "meaning": heard(meaning)})
        return rows

    def warnings(self, prompts: Sequence[str], model: str) -> list[str]:
        """Words of the prompts that the model does not know or will not read."""
        found = []
        unknown = dict.fromkeys(word for prompt in prompts for word in unknown_words(prompt, model))
        if unknown:
            named = ", ".join(_("“{word}”", word=word) for word in unknown)
            found.append(_("The built-in model does not know {named} and will guess.", named=named))
        cut = filter(None, map(beyond_budget, prompts))
        return found + [_("Too long: the model will not read “{cut}”.", cut=words) for words in cut]


def _history_row(job: JobView) -> Json:
    view = page_view(job)
    poster = view["results"][0]["poster"] if view["results"] else None
    first = view["targets"][0] if view["targets"] else {"marked": "", "text": ""}
    more = len(view["targets"]) - 1
    suffix = f" <small>{_('and {n} more', n=more)}</small>" if more > 0 else ""
    return {
        "id": job.id,
        "state": view["state"],
        "final": view["final"],
        "title": view["title"],
        "poster": poster,
        "marked": first["marked"] + suffix,
        "text": first["text"],
        "when": view["title"] if job.state != "done" else _ago(job),
    }


def _ago(job: JobView) -> str:
    passed = max(0.0, time.time() - (job.ended or job.created))
    if passed < 60:
        return _("just now")
    if passed < 3600:
        return _("{n:.0f} min ago", n=passed / 60)
    if passed < 2 * 86400:
        return _("{n:.0f} h ago", n=passed / 3600)
    return _("{n:.0f} days ago", n=passed / 86400)
