"""The page: its layout, and which click leads where. What happens is decided in `editor.web.desk`."""

from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from editor.diffusion.catalog import CATALOG
from editor.events import EditError
from editor.jobs import JobView, new_secret
from editor.request import PRESETS, EditRequest
from editor.web import api, parts, texts
from editor.web.desk import Chosen, Desk
from editor.web.form import (
    advanced_components,
    advanced_fields,
    build_request,
    form_values,
    parse_setting,
    split_targets,
)
from editor.web.known import BUILT_IN, chips
from editor.web.visitor import job_link, network_address, page_secret

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
"""The page has its own signs of progress, and its events are no API."""


class Page:
    """Builds the `gr.Blocks` of one installation."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.settings = desk.settings
        self.models = tuple(dict.fromkeys((self.settings.model, *self.settings.models)))
        self.preset = EditRequest().preset

    def build(self) -> gr.Blocks:
        """The page, not launched."""
        with gr.Blocks(
            title=f"{texts.TITLE}: {texts.TAGLINE.rstrip('.').lower()}",
            analytics_enabled=False,
            delete_cache=(600, 3600),
            fill_width=True,
        ) as blocks:
            self.owner = gr.BrowserState(storage_key="recast", secret=page_secret(self.settings.data))
            self.chosen = gr.State(None)
            self._header()
            with gr.Row(elem_id="columns", equal_height=False):
                with gr.Column(elem_id="form", min_width=320):
                    self._form()
                with gr.Column(elem_id="result", min_width=320):
                    self.stage = parts.stage(elem_id="stage")
            self.history = parts.history(elem_id="history")
            self._wire(blocks)
            api.add(self.desk)
        return blocks

    # -- layout

    def _header(self) -> None:
        gr.HTML(
            f'<header><h1><span class="mark" aria-hidden="true"></span>{texts.TITLE}</h1><p>{texts.TAGLINE}</p></header>',
            elem_id="header",
            apply_default_css=False,
        )

    def _form(self) -> None:
        self.upload = gr.File(
            label=texts.CLIP, file_types=["video"], height=150, elem_id="upload", type="filepath", show_label=False
        )
        self.examples = parts.examples(
            value=[{"title": e.title} for e in self.desk.examples], elem_id="examples", visible=bool(self.desk.examples)
        )
        self.card = parts.clip_card(elem_id="clip", visible=False)
        self.used = gr.HTML(elem_id="used", visible=False, apply_default_css=False)
        self.source = gr.Textbox(
            label=texts.SOURCE, placeholder=texts.SOURCE_HINT, max_lines=3, lines=1, elem_id="source", max_length=1000
        )
        self.targets = gr.Textbox(
            label=texts.TARGETS,
            placeholder=texts.TARGETS_HINT,
            lines=2,
            max_lines=5,
            elem_id="targets",
            info=texts.TARGETS_INFO if self.settings.max_targets > 1 else None,
            max_length=4000,
        )
        self.advice = gr.HTML(elem_id="advice", apply_default_css=False)
        self.about = gr.HTML(f"<p>{texts.BUILT_IN}</p>", elem_id="about", apply_default_css=False)
        self.chips = parts.word_chips(value=chips(), elem_id="chips")
        titles = [(CATALOG[name].title if name in CATALOG else name, name) for name in self.models]
        self.model = gr.Dropdown(titles, value=self.models[0], label="Model", elem_id="model", visible=len(titles) > 1)
        self.presets = gr.Radio(_preset_choices(), value=self.preset, label="How carefully", elem_id="preset")
        with gr.Accordion(texts.ADVANCED, open=False, elem_id="advanced"):
            self.advanced = advanced_components(self.settings, self.preset)
        self.estimate = gr.HTML(elem_id="estimate", apply_default_css=False)
        self.run = gr.Button(texts.RUN, variant="primary", elem_id="run", size="lg")

    # -- wiring

    def _wire(self, blocks: gr.Blocks) -> None:
        settings = [self.source, self.targets, self.presets, self.model, *self.advanced.values()]
        described = {"outputs": [self.advice, self.estimate, self.run], "queue": False, **QUIET}
        describe = {"fn": self.describe, "inputs": [self.chosen, *settings], **described}
        picture = {"fn": self.used_frames, "inputs": [self.chosen, *settings], "outputs": [self.used], **QUIET}
        clip = [self.chosen, self.card, self.upload, self.examples]
        form = [self.source, self.targets, self.presets, self.model, *self.advanced.values()]

        self.upload.upload(
            self.take_upload, [self.upload], clip, concurrency_limit=2, api_visibility="private"
        ).success(**picture).then(**describe)
        self.examples.choose(self.take_example, None, [*clip, self.source, self.targets], **QUIET).success(
            **picture
        ).then(**describe)
        self.card.replace(self.drop_clip, None, [*clip, self.used], queue=False, **QUIET)
        self.card.interval(self.set_interval, [self.chosen], [self.chosen], queue=False, **QUIET).then(**picture).then(
            **describe
        )
        typed = [self.source.input, self.targets.input, *(c.input for c in self.advanced.values())]
        gr.on(typed, trigger_mode="always_last", **describe)
        self.presets.input(self.preset_values, [self.presets], list(self.advanced.values()), queue=False, **QUIET).then(
            **picture
        ).then(**describe)
        self.model.input(self.about_model, [self.model], [self.about, self.chips], queue=False, **QUIET).then(
            **describe
        )
        for name in ("max_frames", "fps"):
            self.advanced[name].change(trigger_mode="always_last", **picture)

        shown = [self.stage, self.history]
        gr.on(
            [self.run.click, self.source.submit, self.targets.submit],
            self.submit,
            [self.owner, self.chosen, *settings],
            [*shown, self.owner, self.chosen],
            validator=self.validate,
            concurrency_limit=4,
            scroll_to_output=False,
            **QUIET,
        )
        self.stage.stop(self.stop, [self.owner], shown, queue=False, **QUIET)
        self.stage.ended(self.refresh, [self.owner], [self.history], queue=False, **QUIET).then(**describe)
        again = {"fn": self.again, "outputs": [*clip, *form], **QUIET}
        self.stage.again(**again).success(**picture).then(**describe)
        self.history.again(**again).success(**picture).then(**describe)
        self.history.open(self.open, [self.owner], [self.stage], queue=False, **QUIET)
        self.history.remove(self.remove, [self.owner, self.stage], shown, queue=False, **QUIET)
        blocks.load(self.load, [self.owner], [*shown, self.owner], queue=False, **QUIET)

    # -- events

    def load(self, owner: str | None, request: gr.Request) -> tuple:
        """The page was opened: show the job that its address names, or else this visitor's job at work."""
        owner = owner or new_secret()
        wanted = request.query_params.get("job")
        if wanted:
            shown, _ = self.desk.open(str(wanted), owner)
        else:
            running = next((job for job in self.desk.service.history(owner) if not job.state.final), None)
            shown = self.desk.open(running.id, owner)[0] if running else {"job": None}
        return self._linked(shown, request), self.desk.history(owner), owner

    def take_upload(self, path: str | None) -> tuple:
        """A file was uploaded."""
        from pathlib import Path

        with friendly():
            return self._clip_shown(self.desk.take_upload(Path(path)))

    def take_example(self, event: gr.EventData) -> tuple:
        """An example was chosen."""
        with friendly():
            chosen, example = self.desk.take_example(int(event.index))
        return *self._clip_shown(chosen), example.source, "\n".join(example.targets[:1])

    def drop_clip(self) -> tuple:
        """Another clip is wanted."""
        shown = gr.update(visible=bool(self.desk.examples))
        return None, gr.update(visible=False), gr.update(visible=True, value=None), shown, gr.update(visible=False)

    def set_interval(self, chosen: Chosen | None, event: gr.EventData) -> Chosen | None:
        """The interval was moved."""
        start, end = float(event.start), float(event.end)
        if chosen is None or not 0 <= start < end:
            return chosen
        return replace(chosen, start=start, end=min(end, chosen.seconds))

    def used_frames(self, chosen: Chosen | None, *form: Any) -> Any:  # noqa: ANN401
        """The strip of the frames that will be edited."""
        if chosen is None:
            return gr.update(visible=False)
        try:
            picture, interval = self.desk.used(chosen, self._request(form, chosen))
        except EditError as error:
            return gr.update(visible=True, value=f'<p class="warning">{escape(str(error))}</p>')
        count = len(interval.indices)
        line = f"{count} frames are edited, {interval.fps:.3g} a second"
        notes = "".join(f"<br>{escape(note)}" for note in interval.notes)
        image = f'<div class="strip"><img src="{picture}" alt="The frames that are edited" data-testid="used"></div>'
        return gr.update(visible=True, value=f"{image}<p>{line}{notes}</p>")

    def describe(self, chosen: Chosen | None, *form: Any) -> tuple:  # noqa: ANN401
        """What the words mean, what the edit costs, and what the button says."""
        source, targets, _, model = form[:4]
        wanted = split_targets(targets)
        advice = _advice_html(self.desk.advice(source, wanted, model), self.desk.warnings(source, model), bool(wanted))
        label = texts.RUN if len(wanted) < 2 else texts.RUN_SEVERAL.format(n=len(wanted))
        return advice, self._estimate_html(chosen, form), gr.update(value=label)

    def preset_values(self, preset: str) -> list[Any]:
        """The advanced settings of a preset."""
        return list(form_values(EditRequest.from_preset(preset)).values())

    def about_model(self, model: str) -> tuple:
        """The words of the built-in model are shown with it only."""
        return gr.update(visible=model == BUILT_IN), gr.update(visible=model == BUILT_IN)

    def validate(self, owner: str, chosen: Chosen | None, *form: Any) -> list[Any]:  # noqa: ANN401
        """One verdict per input of `submit`, shown at the field."""
        source, targets, *_ = form
        wanted = split_targets(targets)
        too_many = texts.TOO_MANY_TARGETS.format(given=len(wanted), allowed=self.settings.max_targets)
        verdicts = [
            gr.validate(True, ""),
            gr.validate(True, ""),
            gr.validate(bool((source or "").strip()), texts.NO_SOURCE),
            gr.validate(len(wanted) <= self.settings.max_targets, too_many)
            if wanted
            else gr.validate(False, texts.NO_TARGET),
            gr.validate(True, ""),
            gr.validate(True, ""),
        ]
        return verdicts + [_verdict(f, value) for f, value in zip(advanced_fields().values(), form[4:], strict=True)]

    def submit(self, owner: str | None, chosen: Chosen | None, *form: Any, request: gr.Request) -> tuple:  # noqa: ANN401
        """Run was pressed."""
        owner = owner or new_secret()
        if chosen is None:
            raise gr.Error(texts.NO_CLIP, title="No clip", print_exception=False)
        with friendly():
            job = self.desk.submit(chosen, self._request(form, chosen), owner, network_address(request))
        shown, _ = self.desk.open(job.id, owner)
        return self._linked(shown, request), self.desk.history(owner), owner, replace(chosen, job=job.id)

    def stop(self, owner: str, event: gr.EventData, request: gr.Request) -> tuple:
        """Stop was pressed on the stage."""
        with friendly():
            self.desk.service.cancel(str(event.job), owner)
        return self._linked(self.desk.open(str(event.job), owner)[0], request), self.desk.history(owner)

    def refresh(self, owner: str) -> list:
        """A job ended: the list of edits shows it."""
        return self.desk.history(owner)

    def again(self, event: gr.EventData) -> tuple:
        """A job's clip, sentences and settings come back into the form."""
        with friendly():
            chosen, request = self.desk.take_job(str(event.job))
        model = request.model if request.model in self.models else self.models[0]
        values = form_values(request).values()
        return (*self._clip_shown(chosen), request.source, "\n".join(request.targets), request.preset, model, *values)

    def open(self, owner: str, event: gr.EventData, request: gr.Request) -> Any:  # noqa: ANN401
        """A job of the list is shown on the stage."""
        return self._linked(self.desk.open(str(event.job), owner)[0], request)

    def remove(self, owner: str, shown: dict | None, event: gr.EventData) -> tuple:
        """A job is deleted."""
        with friendly():
            self.desk.service.delete(str(event.job), owner)
        gone = shown and shown.get("job") == event.job
        return {"job": None} if gone else gr.skip(), self.desk.history(owner)

    # -- helpers

    def _request(self, form: tuple, chosen: Chosen) -> EditRequest:
        source, targets, preset, model, *advanced = form
        end = None if chosen.end >= chosen.seconds else chosen.end
        return build_request(source, targets, preset, model, advanced, (chosen.start, end))

    def _clip_shown(self, chosen: Chosen) -> tuple:
        hidden = gr.update(visible=False)
        return (
            chosen,
            gr.update(visible=True, value=self.desk.card(chosen)),
            gr.update(visible=False, value=None),
            hidden,
        )

    def _linked(self, shown: dict, request: gr.Request) -> dict:
        return {**shown, "link": job_link(shown["job"], self.settings, request)} if shown.get("job") else shown

    def _estimate_html(self, chosen: Chosen | None, form: tuple) -> str:
        if chosen is None:
            return ""
        try:
            cost, reused = self.desk.cost(chosen, self._request(form, chosen))
        except EditError as error:
            return f'<p class="warning">{escape(str(error))}</p>'
        guess = "" if cost.measured else "<small>A first guess: nothing was timed on this machine yet.</small>"
        kept = f"<small>{texts.REUSED}</small>" if reused else ""
        return (
            f'<p data-testid="estimate"><strong>About {texts.seconds(cost.seconds)}</strong>'
            f" for {cost.frames} frames, {cost.memory_gb:.1f} GB of memory</p>{guess}{kept}"
        )


class friendly:
    """Turns an `EditError` into Gradio's error for visitors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EditError):
            raise gr.Error(str(error), title="That did not work", print_exception=False) from error


def _verdict(f: Any, value: Any) -> Any:  # noqa: ANN401
    try:
        parse_setting(f, value)
    except EditError as error:
        return gr.validate(False, str(error))
    return gr.validate(True, "")


def _preset_choices() -> list[tuple[str, str]]:
    return [(texts.PRESETS.get(name, (name, ""))[0], name) for name in PRESETS]


def _advice_html(rows: list[dict], warnings: list[str], asked: bool) -> str:
    items = [f'<p class="warning">{escape(text)}</p>' for text in warnings] if asked else []
    for row in rows:
        items.append(f'<div class="edit" data-kind="{row["kind"]}"><p class="marked">{row["marked"]}</p>')
        items.append(f"<p>{escape(row['meaning'])}</p>" if row["meaning"] else "")
        items += [f'<p class="warning">{escape(text)}</p>' for text in row["warnings"]]
        items.append("</div>")
    return "".join(items)


__all__ = ["JobView", "Page"]
