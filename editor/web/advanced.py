"""The advanced settings: headings, fields, what a field shows, how it is read, and what differs from the defaults."""

import re
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, get_args, get_origin

import gradio as gr

from editor.events import EditError
from editor.request import EditRequest, Window
from editor.settings import Settings
from editor.web import markup
from editor.web.texts import _, heard
from editor.web.view import Json, label, plain

GROUPS: dict[str, tuple[str, ...]] = {
    "How many frames, and how large": ("key_fps", "max_frames", "agreement", "window", "size"),
    "How strongly the words act": (
        *("steps", "swap_steps", "guidance_scale", "guidance_stop", "guidance_quantile"),
        *("subject_guidance", "setting_guidance", "word_weights", "negative_prompt", "negative_scale", "clip_skip"),
    ),
    "What is kept of the clip": (
        *("inversion", "inversion_prompt", "guidance_base", "null_text_inner_steps", "null_text_window"),
        *("residual", "residual_window", "shape_residual"),
        *("replace_window", "refine_window", "subject_window", "shape_window"),
        *("self_attention", "self_attention_window", "self_attention_cells"),
        *("frame_attention", "dense_layers", "as_published"),
    ),
    "Where the edit may act": (
        *("blend", "blend_region", "blend_threshold", "blend_start", "kept_window", "kept_threshold", "setting_limit"),
        *("keep_detail", "word_maps"),
        *("spatial_pixel_weight", "spatial_gradient_weight", "spatial_window", "spatial_every"),
    ),
}
"""What the advanced fields are for and what stands below each heading; one that is in none goes to the last."""

DEPENDS: dict[str, tuple[str, Any]] = {
    "residual": ("inversion", ("pinned", "virtual")),
    "residual_window": ("inversion", ("pinned", "virtual")),
    "shape_residual": ("inversion", ("pinned", "virtual")),
    "null_text_inner_steps": ("inversion", "null_text"),
    "null_text_window": ("inversion", "null_text"),
    "self_attention_window": ("self_attention", ("source_kv", "source_maps")),
    "self_attention_cells": ("self_attention", ("source_kv", "source_maps")),
    "blend_region": ("blend", True),
    "blend_threshold": ("blend", True),
    "blend_start": ("blend", True),
    "kept_window": ("blend", True),
    "kept_threshold": ("blend", True),
    "setting_limit": ("blend", True),
}
"""Fields that mean something only while another one has a certain value; otherwise the form hides them."""

Fields = dict[str, Field]


def advanced_fields() -> Fields:
    """The advanced fields by name, in the order of the form."""
    known = {f.name: f for f in fields(EditRequest) if f.metadata["advanced"]}
    ordered = [name for names in GROUPS.values() for name in names if name in known]
    ordered += [name for name in known if name not in ordered]
    return {name: known[name] for name in ordered}


def advanced_components(settings: Settings, request: EditRequest) -> dict[str, gr.components.Component]:
    """Draw all advanced fields at the current place of the page, with the values of `request`."""
    known = advanced_fields()
    values = advanced_values(request)
    placed = {name for names in GROUPS.values() for name in names}
    late = tuple(name for name in known if name not in placed)
    drawn = {}
    for n, (heading, names) in enumerate(GROUPS.items()):
        names = names + (late if n == len(GROUPS) - 1 else ())
        gr.HTML(markup.heading(_(heading)), elem_classes="group-heading", apply_default_css=False)
        for name in names:
            drawn[name] = _component(known[name], values[name], settings, matters(name, values))
    return {name: drawn[name] for name in known}


def matters(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a field has an effect beside the values of the others."""
    if name not in DEPENDS:
        return True
    other, value = DEPENDS[name]
    return values[other] in (value if isinstance(value, tuple) else (value,))


def _component(f: Field, value: Any, settings: Settings, visible: bool) -> gr.components.Component:  # noqa: ANN401
    """The form field of a request field: kind by type, range and explanation by its metadata."""
    common = {"label": _(label(f.name)), "info": _(f.metadata["help"]), "value": value, "elem_id": f"set-{f.name}"}
    common["visible"] = visible
    low, choices = f.metadata.get("low"), f.metadata.get("choices")
    high = _ceiling(f.name, f.metadata.get("high"), settings)
    if f.type is bool:
        return gr.Checkbox(**common)
    if choices:
        return gr.Radio([(_(choice.replace("_", " ")), choice) for choice in choices], **common)
    if f.type == Window:
        return gr.Textbox(placeholder=shown((0.5, 1.0)), max_lines=1, **common)
    if get_origin(f.type) is Mapping:
        return gr.Textbox(placeholder="snow=1.5, car=0.8", max_lines=1, **common)
    if type(None) in get_args(f.type):
        common["value"] = str(value)
        # Gradio's number field turns an empty value into 0 as soon as it is drawn, so this is a field of text.
        return gr.Textbox(placeholder=_("chosen automatically"), max_lines=1, **common)
    if f.type in (int, float):
        common["value"] = value if high is None else min(value, high)
        return gr.Slider(low, high, step=1 if f.type is int else 0.05, **common)
    return gr.Textbox(max_lines=2, **common)


def _ceiling(name: str, high: float | None, settings: Settings) -> float | None:
    """The upper end of a range: the request's, or less where this installation allows less."""
    allowed = {"max_frames": settings.max_frames, "steps": settings.max_steps}.get(name)
    return high if allowed is None or high is None else min(high, allowed)


def advanced_values(request: EditRequest) -> dict[str, Any]:
    """The advanced fields of a request as the form shows them."""
    return {name: shown(getattr(request, name)) for name in advanced_fields()}


def standing(base: EditRequest, form: Mapping[str, Any]) -> Json:
    """Where the numbers come from, each field's default for this model, and the names of those that differ from it.

    `base`: what preset, model and strength make; `form`: what the form shows.
    """
    known = advanced_fields()
    defaults = {name: _plain(value) for name, value in advanced_values(base).items()}
    differing = [name for name, f in known.items() if not _equal(f, form[name], getattr(base, name))]
    labels = {name: _(label(name)) for name in known}
    return {"origin": heard(base.origin()), "labels": labels, "defaults": defaults, "differing": differing}


def _equal(f: Field, given: Any, default: Any) -> bool:  # noqa: ANN401
    try:
        return parse_field(f, given) == default
    except (EditError, TypeError, ValueError):
        return False


def _plain(value: Any) -> str:  # noqa: ANN401
    """A value of the form in words."""
    if isinstance(value, bool):
        return _("on") if value else _("off")
    if isinstance(value, float):
        return f"{value:g}"
    return _(str(value).replace("_", " ")) if str(value) else _("automatic")


def shown(value: Any) -> Any:  # noqa: ANN401
    """A value of a request as its field shows it."""
    if value is None:
        return ""
    return plain(value) if isinstance(value, tuple | Mapping) else value


def parse_field(f: Field, value: Any) -> Any:  # noqa: ANN401
    """One form value as the request wants it. Raises `EditError`."""
    if f.type == Window:
        return parse_window(value)
    if get_origin(f.type) is Mapping:
        return parse_weights(value)
    if type(None) in get_args(f.type):
        return _parse_optional(f, value)
    if f.type is int:  # Gradio's sliders may give floats
        return int(value)
    return value


def _parse_optional(f: Field, text: Any) -> float | int | None:  # noqa: ANN401
    """A number, or None for an empty field."""
    if text is None or not str(text).strip():
        return None
    try:
        number = float(str(text).replace(",", "."))
    except ValueError:
        raise EditError(_("“{text}” is not a number. Leave the field empty to have it chosen.", text=text)) from None
    low, high = f.metadata["low"], f.metadata["high"]
    if not low <= number <= high:
        raise EditError(
            _(
                "“{text}” is out of range. Allowed: {low:g} to {high:g}; leave the field empty to have it chosen.",
                text=text,
                low=low,
                high=high,
            )
        )
    return int(number) if int in get_args(f.type) else number


def parse_window(text: str) -> Window:
    """`0.5 to 1`, also `0.5-1` or `0.5, 1`. Raises `EditError`."""
    numbers = re.findall(r"\d*\.?\d+", str(text))
    if len(numbers) != 2:
        raise EditError(
            _("“{text}” is not a range of the steps. Write two numbers from 0 to 1, for example: 0.5 to 1.", text=text)
        )
    start, end = (float(n) for n in numbers)
    if not 0 <= start <= end <= 1:
        raise EditError(_("“{text}” must rise and stay within 0 to 1, for example: 0.5 to 1.", text=text))
    return start, end


def parse_weights(text: str) -> dict[str, float]:
    """`snow=1.5, car=0.8`. Raises `EditError`."""
    weights = {}
    for part in filter(None, (p.strip() for p in re.split(r"[,\n]", text or ""))):
        word, _sign, number = part.partition("=")
        try:
            weights[word.strip()] = float(number)
        except ValueError:
            raise EditError(
                _("“{text}” is not a word with a strength. Write for example: snow=1.5, car=0.8.", text=part)
            ) from None
    return weights


def verdict(f: Field, value: Any) -> Any:  # noqa: ANN401
    """Whether `value` can be read for field `f`, as Gradio shows it at the field."""
    try:
        parse_field(f, value)
    except EditError as error:
        return gr.validate(False, str(error))
    return gr.validate(True, "")
