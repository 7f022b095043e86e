"""The page: its layout, and which click leads where. What a click does is in `editor.web.clicks`."""

from typing import Any

import gradio as gr
from gradio.context import Context

from editor.diffusion.catalog import CATALOG, offered_loras
from editor.jobs import as_allowed
from editor.request import EditRequest
from editor.web import api, markup, parts, texts
from editor.web.advanced import DEPENDS, advanced_components, advanced_values, standing
from editor.web.clicks import Clicks
from editor.web.desk import Desk
from editor.web.door.visitor import page_secret
from editor.web.texts import _
from editor.web.told import Told
from editor.web.words import BUILT_IN, chips

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
"""The page has its own signs of progress, and its events are no API."""
AT_ONCE = {"queue": False, **QUIET}
LAST = {"trigger_mode": "always_last", **AT_ONCE}
"""For events that read fields. One that comes while another is answered waits (Gradio's default drops it), and is then
sent with the fields of that moment, but with the data of the event before it: it must not read event data."""
EACH = {"trigger_mode": "multiple", **AT_ONCE}
"""For events whose data say what was clicked: none waits for another, none is dropped."""


class Page:
    """Builds the `gr.Blocks` of one installation."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.settings = desk.settings
        self.models = desk.models
        self.preset = EditRequest().preset
        self.clicks = Clicks(desk)

    def build(self) -> gr.Blocks:
        """The page, not launched: in English, and what differs in it in other languages.

        Gradio counts components over all pages. The numbers must be the same in every language, for the events are
        those of the page in English.
        """
        first, built = Context.id, {}
        for code in (*texts.LANGUAGES, texts.ENGLISH):
            Context.id = first
            with texts.speaking(code):
                built[code] = self._built()
        blocks = built.pop(texts.ENGLISH)
        blocks.translated = {code: {k: page.config[k] for k in ("title", "components")} for code, page in built.items()}
        return blocks

    def _built(self) -> Told:
        with Told(
            title=_(texts.PAGE_TITLE), analytics_enabled=False, delete_cache=(600, 3600), fill_width=True
        ) as blocks:
            self.owner = gr.BrowserState(storage_key="recast", secret=page_secret(self.settings.data))
            self.chosen = gr.State(None)
            gr.HTML(markup.header(), elem_id="header", apply_default_css=False)
            with gr.Row(elem_id="columns", equal_height=False):
                with gr.Column(elem_id="form", min_width=320):
                    self._clip()
                    self._words()
                    self._how()
                with gr.Column(elem_id="result", min_width=320):
                    self.stage = parts.stage(value=self.desk.first_sight(), elem_id="stage")
            self.history = parts.history(elem_id="history")
            api.add(self.desk)  # before the page's events: who comes first gets the name
            self._wire_form()
            self._wire_job(blocks)
        return blocks

    # -- layout

    def _clip(self) -> None:
        self.upload = gr.File(
            label=_(texts.CLIP),
            file_types=["video", ".json"],
            height=150,
            elem_id="upload",
            type="filepath",
            show_label=False,
        )
        titles = [{"title": _(example.title)} for example in self.desk.examples]
        self.examples = parts.examples(value=titles, elem_id="examples", visible=bool(titles))
        self.card = parts.clip_card(elem_id="clip", visible=False)
        self.used = gr.HTML(elem_id="used", visible=False, apply_default_css=False)
        self.recalled = gr.HTML(elem_id="recalled", visible=False, apply_default_css=False)

    def _words(self) -> None:
        self.source = gr.Textbox(
            label=_(texts.SOURCE), placeholder=texts.SOURCE_HINT, max_lines=3, elem_id="source", max_length=1000
        )
        self.suggestion = parts.suggestion(value={"text": ""}, elem_id="suggestion")
        self.targets = gr.Textbox(
            label=_(texts.TARGETS),
            placeholder=texts.TARGETS_HINT,
            lines=2,
            max_lines=5,
            elem_id="targets",
            info=_(texts.TARGETS_INFO) if self.settings.max_targets > 1 else None,
            max_length=4000,
        )
        self.advice = gr.HTML(elem_id="advice", apply_default_css=False)
        self.chips = parts.word_chips(value=chips(), elem_id="chips", visible=self.models[0] == BUILT_IN)

    def _how(self) -> None:
        titles = [(CATALOG[name].title if name in CATALOG else name, name) for name in self.models]
        self.model = gr.Dropdown(
            titles, value=self.models[0], label=_("Model"), elem_id="model", visible=len(titles) > 1
        )
        first = as_allowed(EditRequest.from_preset(self.preset, model=self.models[0]), self.settings)
        self.presets = gr.Radio(texts.preset_choices({}), value=self.preset, label=_(texts.PRESET), elem_id="preset")
        strengths = [(_(text), name) for name, text in texts.STRENGTHS.items()]
        self.strength = gr.Radio(strengths, value=first.strength, label=_(texts.STRENGTH), elem_id="strength")
        known = list(offered_loras(self.settings.loras))
        shown = {"visible": bool(known)}
        self.loras = gr.Dropdown(known, value=[], multiselect=True, label=_(texts.LORAS), elem_id="loras", **shown)
        self.lora_scale = gr.Slider(0, 2, 1.0, step=0.05, label=_(texts.LORA_SCALE), elem_id="lora-scale", **shown)
        with gr.Accordion(_(texts.ADVANCED), open=False, elem_id="advanced"):
            self.origin = parts.standing(value=standing(first, advanced_values(first)), elem_id="origin")
            self.advanced = advanced_components(self.settings, first)
        self.settings_file = gr.UploadButton(
            _(texts.SETTINGS_FILE), file_types=[".json", ".mp4", ".gif"], elem_id="settings-file", size="sm"
        )
        with gr.Column(elem_id="runbar"):
            self.estimate = gr.HTML(elem_id="estimate", apply_default_css=False)
            self.run = gr.Button(_(texts.RUN), variant="primary", elem_id="run", size="lg")

    # -- wiring

    @property
    def form(self) -> dict[str, gr.components.Component]:
        """The fields of the form by the names of `EditRequest`, under which every click receives their values."""
        choice = {"source": self.source, "targets": self.targets, "preset": self.presets, "model": self.model}
        loras = {"loras": self.loras, "lora_scale": self.lora_scale}
        return {**choice, "strength": self.strength, **loras, **self.advanced}

    @property
    def _shown_clip(self) -> list[gr.components.Component]:
        return [self.chosen, self.card, self.upload, self.examples]

    @property
    def _describe(self) -> dict[str, Any]:
        """The event that explains words and cost."""
        outputs = [self.advice, self.estimate, self.run, self.presets]
        event = {"fn": self.clicks.describe, "inputs": [self.chosen], "inputs_kwargs": self.form, "outputs": outputs}
        return {**event, **LAST}

    @property
    def _picture(self) -> dict[str, Any]:
        """The event that draws the frames that will be used."""
        inputs = {"inputs": [self.chosen], "inputs_kwargs": self.form}
        event = {"fn": self.clicks.used_frames, **inputs, "outputs": [self.used]}
        return {**event, "trigger_mode": "always_last", **QUIET}

    def _wire_form(self) -> None:
        do, clip = self.clicks, self._shown_clip
        settings = [self.recalled, *self.form.values()]
        heavy = {"concurrency_limit": 2, "api_visibility": "private"}
        taken = [
            self.upload.upload(do.take_upload, [self.upload], [*clip, *settings], **heavy),
            self.settings_file.upload(do.take_settings, [self.settings_file], settings, **heavy),
            self.examples.choose(do.take_example, None, clip, **QUIET),
        ]
        self.examples.choose(do.show_example, None, [self.stage, self.source, self.targets], **AT_ONCE)
        for event in taken:
            event.success(**self._picture).then(**self._describe).then(
                do.suggest, [self.chosen, self.source, self.model], [self.suggestion], **QUIET
            )
        self.card.replace(do.drop_clip, None, [*clip, self.used, self.recalled], **AT_ONCE).then(**self._describe)
        moved = self.card.interval(
            do.set_interval,
            [self.chosen, self.card],
            [self.chosen, self.used],
            inputs_kwargs=self.form,
            **LAST,
        )
        moved.then(**self._describe)
        typed = [self.source.change, self.targets.change, *(c.input for c in self.advanced.values())]
        gr.on(typed, **self._describe)
        self.model.input(do.about_model, [self.model], [self.chips], **LAST)
        numbers = gr.on(
            [self.presets.input, self.model.input, self.strength.input],
            do.numbers,
            [self.presets, self.model, self.strength],
            [self.strength, self.origin, *self.advanced.values()],
            **LAST,
        )
        numbers.then(**self._describe)
        compare = {"fn": do.compare, "inputs": None, "inputs_kwargs": self.form, "outputs": [self.origin], **LAST}
        gr.on([c.change for c in self.advanced.values()], **compare)
        back = self.origin.back(do.back, None, [*self.advanced.values()], inputs_kwargs=self.form, **EACH)
        back.then(**self._describe)
        deciding = dict.fromkeys(other for other, _ in DEPENDS.values())
        gr.on(
            [self.advanced[name].change for name in deciding],
            do.relevance,
            None,
            [self.advanced[name] for name in DEPENDS],
            inputs_kwargs={name: self.advanced[name] for name in deciding},
            **LAST,
        )
        for name in ("max_frames", "key_fps"):
            self.advanced[name].change(**self._picture)

    def _wire_job(self, blocks: gr.Blocks) -> None:
        do, shown = self.clicks, [self.stage, self.history]
        submitted = gr.on(
            [self.run.click, self.source.submit, self.targets.submit],
            do.submit,
            [self.owner, self.chosen],
            [*shown, self.owner, self.chosen],
            inputs_kwargs=self.form,
            validator=do.validate,
            concurrency_limit=4,
            **QUIET,
        )
        self.stage.stop(do.stop, [self.owner], shown, **AT_ONCE)
        self.stage.moved(do.refresh, [self.owner], [self.history], **LAST).then(**self._describe)
        for part in (self.stage, self.history):
            again = part.again(do.again, None, [*self._shown_clip, *self.form.values()], **QUIET)
            again.success(**self._picture).then(**self._describe)
        made = [*shown, self.owner, *self._shown_clip, *self.form.values()]
        self.stage.make(do.make_example, [self.owner], made, **QUIET).success(**self._picture).then(**self._describe)
        self.stage.vary(do.vary, [self.owner], [*shown, self.owner], **AT_ONCE)
        self.stage.open(do.open, [self.owner], [self.stage], **EACH)
        self.history.open(do.open, [self.owner], [self.stage], **EACH)
        self.history.remove(do.remove, [self.owner, self.stage], shown, **EACH)
        opened = blocks.load(do.load, [self.owner], [*shown, self.owner], **AT_ONCE)
        if self.desk.service.executor.lent:
            for event in (submitted, opened):
                event.success(do.compute, [self.stage], None, concurrency_limit=None, **QUIET)
