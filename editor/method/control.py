"""From a `Reading` to steps: on which of them the source is held, by the request's numbers. Imports no torch.

What is said before the run (page, estimate, `explain`), what runs, and what the manifest says all come from here.
"""

from dataclasses import dataclass, replace
from typing import Any

from editor.reading import Kind, Reading, Shapes, read_edit
from editor.request import EditRequest, Window

HALF = 0.5
"""Part of the steps on which shapes are held where it is unsure whether one changes: holding a shape that should go
makes an edit that nothing can repair, the other error is mild."""


@dataclass(frozen=True)
class Control:
    """What is done for one target. Windows are parts of the steps, `kept` are indices of words in the source.

    `method`: "replace" where single words are exchanged, else "refine" (Prompt-to-Prompt, arXiv 2208.01626). `window`:
    the steps with the source's text maps. `self_window`: those on which self-attention takes from the source.
    `guidance`: the scale on guided steps. `residual`: what part of the request's residual the target gets. `steps`: of
    the whole edit. `kept`: the main thing, where it is pinned in a new place. `note`: what was chosen for these words
    and why, or nothing.
    """

    reading: Reading
    method: str
    window: Window
    self_window: Window
    guidance: float
    residual: float
    steps: int
    kept: tuple[int, ...]
    note: str
    acting: str
    """One or two sentences on what this does to the shapes."""

    @property
    def changed_source(self) -> tuple[int, ...]:
        """Indices of the source's words that go."""
        return self.reading.gone

    @property
    def meaning(self) -> str:
        """What changes and what is done about it, for a person."""
        return f"{self.reading.meaning} {self.acting}".strip()

    def explanation(self) -> dict[str, Any]:
        """The same as plain JSON values: for `explain` and for the manifest."""
        reading = self.reading
        return {
            "kind": str(reading.kind),
            "changes": [{"from": c.before, "to": c.after, "kind": str(c.kind)} for c in reading.changes],
            "main": reading.named(reading.main),
            "kept": [{"word": word, "rule": KEPT_RULE} for word in map(reading.word, self.kept)],
            "maps_until": self.window[1],
            "self_attention_until": self.self_window[1],
            "steps": self.steps,
            "guidance": round(self.guidance, 4),
            "meaning": self.meaning,
        }


def settled(request: EditRequest) -> EditRequest:
    """The request with the number of steps that its words need, as it runs.

    Things and their colours stand after few steps, a new place, time or look needs more. All targets share one
    inversion, so the most demanding of them decides.
    """
    if not request.swap_steps:
        return request
    changes = [change for target in request.targets for change in read_edit(request.source, target).changes]
    wide = any(change.kind in (Kind.PLACE, Kind.TIME, Kind.LOOK) for change in changes)
    return replace(request, steps=request.steps if wide else request.swap_steps, swap_steps=0)


KEPT_RULE = "the main thing, where only its place changes"


def control(reading: Reading, request: EditRequest) -> Control:
    """What `request` does for this edit."""
    guidance, why = _guidance(reading, request)
    window, why_window = _text_window(reading, request)
    self_window, why_self = _self_window(reading, request)
    kept = reading.kept if request.blend and request.kept_window > request.blend_start else ()
    return Control(
        reading=reading,
        method="replace" if reading.swaps else "refine",
        window=window,
        self_window=self_window,
        guidance=guidance,
        residual=request.shape_residual if brings_shape(reading) else 1.0,
        steps=request.steps,
        kept=kept,
        note="; ".join(part for part in (why, why_window, why_self) if part),
        acting=_acting(reading, request, window[1], self_window, kept),
    )


def brings_shape(reading: Reading) -> bool:
    """Whether another shape may come: of a thing, or with another place."""
    return reading.shapes is not Shapes.HELD or any(change.kind is Kind.PLACE for change in reading.changes)


def _guidance(reading: Reading, request: EditRequest) -> tuple[float, str]:
    """The guidance scale, never less than none, and what to say of it."""
    setting = reading.only_setting and any(change.kind is Kind.PLACE for change in reading.changes)
    if request.guidance_scale == 1 or not (setting or reading.subject):
        return request.guidance_scale, ""
    factor = request.setting_guidance if setting else request.subject_guidance
    scale = max(1.0, request.guidance_scale * factor)
    if scale == request.guidance_scale:
        return scale, ""
    what = "another place" if setting else "another thing"
    return scale, f"{what}: guidance scale {scale:g}"


def _text_window(reading: Reading, request: EditRequest) -> tuple[Window, str]:
    """The steps with the source's text maps, and what to say where shapes must give way."""
    plain = request.replace_window if reading.swaps else request.refine_window
    until = min(plain, request.shape_window) if brings_shape(reading) else plain
    if reading.shapes is Shapes.UNSURE:
        until = min(until, max(HALF, request.subject_window))
    if reading.shapes is not Shapes.FREE or min(until, request.subject_window) == plain:
        return (0.0, until), ""
    until = min(until, request.subject_window)
    what = f"“{reading.subject}” replaces another thing" if reading.subject else "a shape comes, goes or changes"
    used = f"used on {until:.0%} of the steps" if until else "not used"
    return (0.0, until), f"{what}: the source's text maps are {used}"


def _self_window(reading: Reading, request: EditRequest) -> tuple[Window, str]:
    """On which steps self-attention takes from the source, and what to say where the old maps are not wanted."""
    window = request.self_attention_window
    if request.self_attention == "own":
        return (0.0, 0.0), ""
    if request.self_attention != "source_maps" or window[0] == window[1] or not brings_shape(reading):
        return window, ""
    if reading.shapes is Shapes.UNSURE and all(change.kind is not Kind.PLACE for change in reading.changes):
        half = (min(window[0], HALF), min(window[1], HALF))
        return half, f"a shape may change: the source's self-attention maps are used on {half[1]:.0%} of the steps"
    return (0.0, 0.0), "a shape comes, goes or moves: the source's self-attention maps are not used"


def _acting(reading: Reading, request: EditRequest, until: float, self_window: Window, kept: tuple[int, ...]) -> str:
    """What the windows mean, in words."""
    if reading.kind is Kind.SAME:
        return ""
    held = self_window[1] if self_window[1] > self_window[0] else 0.0
    if request.self_attention == "own":
        said = f"The layout of the clip is followed {_part(until)}."
    elif not held:
        layout = f"; the layout of the clip is followed {_part(until)}." if until > 0 else "."
        said = f"Shapes may change{layout}"
    elif reading.shapes is Shapes.UNSURE:
        said = f"It is not certain whether a shape changes, so shapes are held {_part(held)} only."
    else:
        said = f"Shapes are held {_part(held)}."
    if kept:
        things = reading.named(kept)
        said += f" The {things} {'stay' if len(kept) > 1 else 'stays'} as in the clip {_part(request.kept_window)}."
    return said


def _part(until: float) -> str:
    if until >= 1:
        return "on all steps"
    return (
        "on no step"
        if until <= 0
        else "on the first half of the steps"
        if until == HALF
        else (f"on the first {until:.0%} of the steps")
    )
