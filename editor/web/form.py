"""The form, derived from `EditRequest`: what it shows for a request, and the way back."""

from collections.abc import Mapping
from typing import Any

from editor.diffusion.catalog import family_of
from editor.jobs import check_lengths
from editor.media.region import region_mask
from editor.presets import depends_on_family
from editor.request import EditRequest
from editor.web.advanced import advanced_fields, advanced_values, parse_field


def whole_form(request: EditRequest) -> dict[str, Any]:
    """Every field of the form with what it shows for a request, in the order of the page's form."""
    choice = {name: getattr(request, name) for name in ("source", "targets", "preset", "model", "strength")}
    loras = {"loras": list(request.loras), "lora_scale": next(iter(request.loras.values()), 1.0)}
    return {**choice, "targets": "\n".join(request.targets), **loras, **advanced_values(request)}


def default_request(form: Mapping[str, Any]) -> EditRequest:
    """What preset, model and strength of a form make where nothing is set by hand."""
    strength = form["strength"] if depends_on_family(form["preset"]) else "normal"
    return EditRequest.from_preset(form["preset"], model=form["model"], strength=strength)


def split_targets(text: str) -> tuple[str, ...]:
    """One target a line; empty lines do not count."""
    return tuple(line.strip() for line in (text or "").splitlines() if line.strip())


def sentences(form: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Source and targets of a form. Raises `EditError` when they are too long, before anybody compares words."""
    source, wanted = (form["source"] or "").strip(), split_targets(form["targets"])
    check_lengths(source, wanted)
    return source, wanted


def build_request(form: Mapping[str, Any], interval: tuple[float, float | None] = (0.0, None)) -> EditRequest:
    """The request that a form's values, by field name, describe. Not yet validated.

    Raises `EditError` on text that cannot be read.
    """
    start, end = interval
    source, targets = sentences(form)
    return EditRequest(
        source=source,
        targets=targets,
        preset=form["preset"],
        model=form["model"],
        loras=dict.fromkeys(form["loras"] or (), float(form["lora_scale"])),
        family=family_of(form["model"]),
        strength=form["strength"] if depends_on_family(form["preset"]) else "normal",
        start=start,
        end=end,
        **{name: parse_field(f, form[name]) for name, f in advanced_fields().items()},
    )


def painted(card: Mapping[str, Any], start: float) -> dict[str, Any]:
    """What was painted on the clip. Raises `EditError` for what is no mask."""
    region, at = card.get("region") or "", card.get("region_at")
    if not region:
        return {"region": "", "region_at": 0.0}
    region_mask(region)
    return {"region": region, "region_at": float(at) if isinstance(at, int | float) else start}
