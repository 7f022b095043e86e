"""What each click on the page leads to. Methods take and return component values; decisions are made at the desk.

The form arrives by name, `form["guidance_scale"]`: see `Page.form`.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from editor.events import EditError
from editor.jobs import as_allowed, new_secret
from editor.manifest import Recalled
from editor.options import quoted
from editor.presets import depends_on_family
from editor.request import EditRequest
from editor.web import markup, texts
from editor.web.advanced import DEPENDS, advanced_fields, advanced_values, matters, standing, verdict
from editor.web.desk import Chosen, Desk
from editor.web.door.visitor import job_link, network_address
from editor.web.form import build_request, default_request, painted, sentences, split_targets, whole_form
from editor.web.texts import _, heard
from editor.web.told import told
from editor.web.view import Json
from editor.web.words import BUILT_IN, Suggestions

log = logging.getLogger(__name__)


class Clicks:
    """The events of one page."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.settings = desk.settings
        self.models = desk.models
        self.suggestions = Suggestions(self.settings.captioner)

    # -- the clip

    def take_upload(self, path: str | None) -> tuple:
        """A file was uploaded."""
        if not path:
            raise gr.Error(_(texts.NO_CLIP), print_exception=False)
        with told():
            chosen, found = self.desk.take_upload(path)
        clip = self._clip_shown(chosen) if chosen else (gr.skip(), gr.skip(), gr.update(value=None), gr.skip())
        return *clip, *self._recalled(found)

    def take_settings(self, path: str | None) -> tuple:
        """A file of an earlier edit was given for its settings."""
        if not path:
            raise gr.Error(_(texts.NO_SETTINGS), print_exception=False)
        with told():
            return self._recalled(self.desk.take_settings(path))

    def show_example(self, event: gr.EventData) -> tuple:
        """An example was chosen: its finished edit and its sentences, at once."""
        with told():
            number = int(event.index)
            asked = self.desk.example(number).request()
            return self.desk.show_example(number), asked.source, "\n".join(asked.targets)

    def take_example(self, event: gr.EventData) -> tuple:
        """An example was chosen: its clip."""
        with told():
            return self._clip_shown(self.desk.take_example(int(event.index))[0])

    def make_example(self, request: gr.Request, owner: str | None, event: gr.EventData) -> tuple:
        """An example's edit is to be made again: clip, sentences and settings come into the form, and it runs."""
        owner = owner or new_secret()
        with told():
            chosen, example = self.desk.take_example(int(event.index))
            asked = example.request(self.models[0])
            job = self.desk.submit(chosen, asked, owner, network_address(request))
        stage = self._shown(job.id, owner, request)
        return stage, self.desk.history(owner), owner, *self._clip_shown(chosen), *whole_form(asked).values()

    def suggest(self, chosen: Chosen | None, source: str, model: str) -> Json:
        """What the clip shows is suggested where nobody has said it yet."""
        if chosen is None or (source or "").strip():
            return {"text": ""}
        try:
            return {"text": self.suggestions.of(chosen.path, chosen.start, chosen.end, model)}
        except (EditError, OSError) as error:
            log.warning("no description of the clip could be suggested: %s", quoted(error))
            return {"text": ""}

    def drop_clip(self) -> tuple:
        """Another clip is wanted."""
        hidden, examples = gr.update(visible=False), gr.update(visible=bool(self.desk.examples))
        return None, hidden, gr.update(visible=True, value=None), examples, hidden, hidden

    def set_interval(self, chosen: Chosen | None, card: dict, **form: Any) -> tuple:  # noqa: ANN401 - form values
        """The interval was moved: other frames will be edited. It is read from the card: see `editor.web.page.LAST`."""
        start, end = float(card["start"]), float(card["end"])
        if chosen is not None and 0 <= start < end:
            with told():
                chosen = replace(chosen, start=start, end=min(end, chosen.info.seconds), **painted(card, start))
        return chosen, self.used_frames(chosen, **form)

    def used_frames(self, chosen: Chosen | None, **form: Any) -> Any:  # noqa: ANN401 - form values
        """The strip of the frames that will be edited."""
        if chosen is None:
            return gr.update(visible=False)
        try:
            return gr.update(
                visible=True, value=markup.used_frames(*self.desk.used(chosen, build_request(form, chosen.interval)))
            )
        except EditError as error:
            return gr.update(visible=True, value=markup.warning(heard(str(error))))

    # -- the words and the settings

    def describe(self, chosen: Chosen | None, **form: Any) -> tuple:  # noqa: ANN401
        """What the words mean, what the presets and the edit cost, and what the button says."""
        model = form["model"]
        try:
            source, wanted = sentences(form)
        except EditError as error:
            return markup.warning(heard(str(error))), "", gr.skip(), gr.skip()
        try:
            asked = build_request(form, chosen.interval if chosen else (0.0, None))
        except EditError:  # a setting cannot be read, which its own field says
            asked = EditRequest.from_preset(form["preset"], model=model)
        advice = markup.advice(self.desk.advice(source, wanted, asked), self.desk.warnings((source, *wanted), model))
        label = _(texts.RUN) if len(wanted) < 2 else _(texts.RUN_SEVERAL, n=len(wanted))
        estimate = ""
        choices = texts.preset_choices({})
        if chosen is not None:
            try:
                request = build_request(form, chosen.interval)
                estimate = markup.estimate(*self.desk.cost(chosen, request))
                choices = texts.preset_choices(self.desk.preset_seconds(chosen, request))
            except EditError as error:
                estimate = markup.warning(heard(str(error)))
        return advice, estimate, gr.update(value=label), gr.update(choices=choices)

    def numbers(self, preset: str, model: str, strength: str) -> list[Any]:
        """What a preset, a model and a strength make of the form: whether the strength counts, where the numbers come
        from, and the advanced settings."""
        counts = depends_on_family(preset)
        request = self._default({"preset": preset, "model": model, "strength": strength})
        values = advanced_values(request)
        return [gr.update(visible=counts), standing(request, values), *values.values()]

    def compare(self, **form: Any) -> Json:  # noqa: ANN401
        """A setting was changed: which differ from the default for this model."""
        return standing(self._default(form), form)

    def back(self, event: gr.EventData, **form: Any) -> list[Any]:  # noqa: ANN401
        """One setting goes back to its default."""
        values = advanced_values(self._default(form))
        return [values[name] if name == event.name else gr.skip() for name in advanced_fields()]

    def relevance(self, **deciding: Any) -> list[Any]:  # noqa: ANN401
        """Settings without effect are hidden. `deciding`: the values of those that `DEPENDS` names."""
        return [gr.update(visible=matters(name, deciding)) for name in DEPENDS]

    def about_model(self, model: str) -> Any:  # noqa: ANN401
        """The words of the built-in model are shown with it only."""
        return gr.update(visible=model == BUILT_IN)

    # -- the job

    def validate(self, owner: str, chosen: Chosen | None, **form: Any) -> list[Any]:  # noqa: ANN401
        """One verdict per input of `submit`, shown at the field."""
        good = gr.validate(True, "")
        verdicts = dict.fromkeys(form, good)
        given, allowed = len(split_targets(form["targets"])), self.settings.max_targets
        if given == 0:
            verdicts["targets"] = gr.validate(False, _(texts.NO_TARGET))
        elif given > allowed:
            verdicts["targets"] = gr.validate(False, _(texts.TOO_MANY_TARGETS, given=given, allowed=allowed))
        verdicts["source"] = gr.validate(bool((form["source"] or "").strip()), _(texts.NO_SOURCE))
        verdicts |= {name: verdict(f, form[name]) for name, f in advanced_fields().items()}
        return [good, good, *verdicts.values()]

    def submit(self, request: gr.Request, owner: str | None, chosen: Chosen | None, **form: Any) -> tuple:  # noqa: ANN401
        """Run was pressed."""
        owner = owner or new_secret()
        if chosen is None:
            raise gr.Error(_(texts.NO_CLIP), title=_("No clip yet"), print_exception=False)
        with told():
            where = {"region": chosen.region, "region_at": chosen.region_at}
            asked = replace(build_request(form, chosen.interval), **where)
            job = self.desk.submit(chosen, asked, owner, network_address(request))
        return self._shown(job.id, owner, request), self.desk.history(owner), owner, replace(chosen, job=job.id)

    def compute(self, shown: dict | None) -> None:
        """The visitor's own waiting job is on the stage, and the device is lent to this event."""
        if shown and shown.get("mine") and shown.get("job"):
            with told():
                self.desk.service.compute(str(shown["job"]))

    def stop(self, owner: str, event: gr.EventData, request: gr.Request) -> tuple:
        """Stop was pressed on the stage."""
        with told():
            self.desk.service.cancel(str(event.job), owner)
        return self._shown(str(event.job), owner, request), self.desk.history(owner)

    def refresh(self, owner: str | None) -> list:
        """A job came to another state: the list of edits shows it."""
        return self.desk.history(owner)

    def again(self, event: gr.EventData) -> tuple:
        """A job's clip, sentences and settings come back into the form."""
        with told():
            chosen, request = self.desk.take_job(str(event.job))
        model = request.model if request.model in self.models else self.models[0]
        return (*self._clip_shown(chosen), *whole_form(replace(request, model=model)).values())

    def vary(self, request: gr.Request, owner: str | None, event: gr.EventData) -> tuple:
        """A job is to be made again, stronger or closer to the clip: a new one, beside it."""
        owner = owner or new_secret()
        with told():
            chosen, asked = self.desk.stepped(str(event.job), 1 if event.step == 1 else -1)
            job = self.desk.submit(chosen, asked, owner, network_address(request))
        return self._shown(job.id, owner, request), self.desk.history(owner), owner

    def open(self, owner: str | None, event: gr.EventData, request: gr.Request) -> Any:  # noqa: ANN401
        """A job of the list is shown on the stage."""
        return self._shown(str(event.job), owner, request)

    def remove(self, owner: str, shown: dict | None, event: gr.EventData) -> tuple:
        """A job is deleted."""
        with told():
            self.desk.service.delete(str(event.job), owner)
        gone = shown and shown.get("job") == event.job
        return self.desk.first_sight() if gone else gr.skip(), self.desk.history(owner)

    def load(self, owner: str | None, request: gr.Request) -> tuple:
        """The page was opened: show the job that its address names, or else this visitor's job at work."""
        owner = owner or new_secret()
        wanted = request.query_params.get("job")
        if not wanted:
            wanted = next((job.id for job in self.desk.service.history(owner) if not job.state.final), None)
        shown = self._shown(str(wanted), owner, request) if wanted else gr.skip()
        return shown, self.desk.history(owner), owner

    # -- helpers

    def _default(self, form: Mapping[str, Any]) -> EditRequest:
        """What the form shows where nothing is set by hand."""
        return as_allowed(default_request(form), self.settings)

    def _shown(self, job_id: str, owner: str | None, request: gr.Request) -> dict:
        shown = self.desk.open(job_id, owner)
        return {**shown, "link": job_link(shown["job"], self.settings, request)} if shown.get("job") else shown

    def _recalled(self, found: Recalled | None) -> tuple:
        """What came with a file, in the form; without that the form stays as it is."""
        if found is None:
            return gr.update(visible=False), *([gr.skip()] * len(whole_form(EditRequest())))
        said = gr.update(visible=True, value=markup.recalled(found.complaints))
        return said, *whole_form(found.request).values()

    def _clip_shown(self, chosen: Chosen) -> tuple:
        card = gr.update(visible=True, value=self.desk.card(chosen))
        return chosen, card, gr.update(visible=False, value=None), gr.update(visible=False)
