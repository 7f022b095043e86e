"""Settings that travel: the manifest of a finished edit, inside its video or as JSON, becomes a request again.

What is read may come from anybody. Every value that cannot be used is named, and the preset's stands in its place.
"""

import json
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import Any

from editor.events import EditError
from editor.media import tag
from editor.options import check, quoted
from editor.presets import STRENGTHS, depends_on_family
from editor.request import PRESETS, EditRequest

VERSION = 1
"""Of the manifest's form; the key `manifest` holds it."""
STATEMENT = (
    "This video was edited by a model with Recast; it does not show what was filmed. "
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
)
"""Stands inside every finished video, for people and, in IPTC's words, for programs."""
INSIDE = ("manifest", "statement", "request", "numbers", "target", "target_index", "model", "versions", "clip")
"""Parts of the manifest that stand inside a file. Equal edits stay equal bytes: no times, and not what was cached."""
MOST_COMPLAINTS = 20
CHOICE = ("preset", "model", "family", "strength")
"""Fields that choose the numbers of the others."""


@dataclass(frozen=True)
class Recalled:
    """A `request` as a manifest describes it, as far as it can be used, and a sentence for every value that cannot."""

    request: EditRequest
    complaints: tuple[str, ...]


def tag_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as it stands inside a file: how the edit is made again, without what is of one run alone."""
    kept = {name: manifest[name] for name in INSIDE if name in manifest}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def read_settings(path: Path) -> Recalled:
    """What the manifest in `path` says: a JSON file, or a video or GIF that Recast made. Raises `EditError`."""
    found = recalled_from(path)
    if found is None:
        raise EditError(
            f"'{quoted(path.name)}' holds no settings of Recast. Give the manifest.json, the edited.mp4 or the GIF of "
            "a finished edit, as they were written: many sites remove what stands inside a video."
        )
    return found


def recalled_from(path: Path) -> Recalled | None:
    """The same, but None for a file that holds no manifest of ours. Raises `EditError` where one is far too long."""
    if path.suffix.lower() != ".json":
        said = tag.read_tag(path)
        return None if said is None else _parsed(said)
    size = path.stat().st_size
    if size > tag.MOST_READ:
        most = f"{tag.MOST_READ / 1e6:g} MB"
        raise EditError(f"'{quoted(path.name)}' has {size / 1e6:.1f} MB; the manifest of an edit has at most {most}.")
    return _parsed(path.read_text(encoding="utf-8", errors="replace"))


def _parsed(text: str) -> Recalled | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not isinstance(values.get("request"), dict):
        return None
    version = values.get("manifest", VERSION)
    other = (
        ()
        if version == VERSION
        else (
            f"The manifest has version {quoted(version)}, this program reads {VERSION}: what it knows of it is used.",
        )
    )
    found = recalled(values["request"])
    return Recalled(found.request, _few((*other, *found.complaints)))


def recalled(values: Mapping[str, Any]) -> Recalled:
    """A request of `EditRequest.to_dict`'s form, of any version and from anybody."""
    known = {f.name: f for f in fields(EditRequest)}
    complaints = [f"“{quoted(name)}” is no setting of this version." for name in values if name not in known]
    usable = {}
    for name, f in known.items():
        if name not in values:
            continue
        value = tuple(values[name]) if isinstance(values[name], list) else values[name]
        try:
            _check(f, value)
        except EditError as error:
            complaints.append(str(error))
        else:
            usable[name] = value
    request = EditRequest.from_preset(usable.pop("preset", EditRequest.preset), **usable)
    try:
        replace(request, source=request.source or "-", targets=request.targets or ("-",)).validated()
    except EditError as error:  # values that are good each by itself, but not together
        complaints.append(str(error))
    return Recalled(request, _few(tuple(complaints)))


def stepped(request: EditRequest, step: int) -> EditRequest:
    """The same edit one step of strength further (`step` 1) or closer to the clip (-1).

    What was set by hand stays. Raises `EditError` past the ends of the scale and for presets without strengths.
    """
    place = STRENGTHS.index(request.strength) + step
    if not depends_on_family(request.preset):
        raise EditError(f"The preset {request.preset} is kept as published and has one strength only.")
    if not 0 <= place < len(STRENGTHS):
        raise EditError(f"The strength is {request.strength} already. There are: {', '.join(STRENGTHS)}.")
    chosen = {"model": request.model, "family": request.family, "strength": STRENGTHS[place]}
    return EditRequest.from_preset(request.preset, **chosen, **by_hand(request))


def by_hand(request: EditRequest) -> dict[str, Any]:
    """The values that the preset, the model and the strength of `request` do not set."""
    chosen = {name: getattr(request, name) for name in CHOICE}
    base = EditRequest.from_preset(chosen.pop("preset"), **chosen)
    values = {f.name: getattr(request, f.name) for f in fields(EditRequest) if f.name not in CHOICE}
    return {name: value for name, value in values.items() if value != getattr(base, name)}


def _check(f: Field, value: Any) -> None:  # noqa: ANN401
    """As `check`, and the name of a preset, which no field's choices bound."""
    check(f, value)
    if f.name == "preset" and value not in PRESETS:
        raise EditError(f"There is no preset '{quoted(value)}'. Allowed: {', '.join(PRESETS)}.")


def _few(complaints: tuple[str, ...]) -> tuple[str, ...]:
    more = len(complaints) - MOST_COMPLAINTS
    return complaints if more <= 0 else (*complaints[:MOST_COMPLAINTS], f"{more} more values cannot be used.")
