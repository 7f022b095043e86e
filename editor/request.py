"""What can be asked of an edit: every default, every range and every preset stands here, once.

The command line, the web form and the manifest derive names, types, ranges and help texts from `EditRequest`.
"""

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self, get_args, get_origin

from editor.events import EditError


def option(
    default: Any,  # noqa: ANN401 - the type stands at the field
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    advanced: bool = True,
) -> Any:  # noqa: ANN401
    """A dataclass field that carries its range, its allowed values and its one-line explanation."""
    meta = {"help": help, "low": low, "high": high, "choices": choices, "advanced": advanced}
    return field(default=default, metadata=meta)


Window = tuple[float, float]
"""A part of the denoising steps as fractions (start, end), 0 = the noisiest step, 1 = after the last step."""


def window_steps(window: Window, steps: int) -> range:
    """The steps i with start <= i/steps < end. (0.5, 1) of 50 steps: 25..49; of 7 steps: 4..6."""
    start, end = (math.ceil(round(fraction * steps, 6)) for fraction in window)
    return range(start, end)


@dataclass(frozen=True)
class EditRequest:
    """One clip, what it shows, what it should show instead, and how. Times are seconds of the source clip."""

    source: str = option("", "What the clip shows.", advanced=False)
    targets: tuple[str, ...] = option((), "What it should show instead; several share one inversion.", advanced=False)
    preset: str = option("balanced", "Which preset the method's numbers come from.", advanced=False)
    model: str = option("demo", "A name from the catalog or a local folder in diffusers layout.", advanced=False)

    start: float = option(0.0, "Where the edited interval begins, in seconds.", low=0.0, advanced=False)
    end: float | None = option(None, "Where it ends, in seconds; empty: the end of the clip.", low=0.0, advanced=False)
    fps: float | None = option(None, "Frames per second to edit; empty: the source's, at most 8.", low=0.1, high=30.0)
    max_frames: int = option(16, "Most frames to edit.", low=1, high=128)
    size: int | None = option(
        None, "Longer side the model works at, in pixels; empty: the model's own.", low=64, high=1024
    )

    negative_prompt: str = option("", "What the result should avoid; overrides the source prompt as guidance base.")
    steps: int = option(25, "Denoising steps.", low=1, high=200)
    guidance_scale: float = option(7.5, "How strongly the prompt steers; 1 is no guidance.", low=1.0, high=20.0)
    guidance_stop: float = option(1.0, "Part of the steps after which guidance ends.", low=0.0, high=1.0)

    inversion: str = option("pinned", "How the source is kept.", choices=("ddim", "null_text", "pinned"))
    inversion_prompt: str = option("source", "Prompt that the inversion runs with.", choices=("empty", "source"))
    null_text_inner_steps: int = option(1, "Optimiser steps per timestep of the null-text fit.", low=1, high=10)
    null_text_window: Window = option((0.5, 1.0), "Steps on which the fitted embeddings are used.", low=0.0, high=1.0)
    residual: float = option(1.0, "Share of the source row's error given to the target (pinned).", low=0.0, high=1.0)
    residual_window: Window = option((0.0, 1.0), "Steps on which that share is given.", low=0.0, high=1.0)
    guidance_base: str = option("source", "What guidance pushes away from.", choices=("empty", "source"))
    self_attention: str = option(
        "source_maps",
        "What the target's self-attention takes from the source: nothing, keys and values, or its maps.",
        choices=("own", "source_kv", "source_maps"),
    )
    self_attention_window: Window = option((0.0, 1.0), "Steps on which it does.", low=0.0, high=1.0)

    as_published: bool = option(
        False, "Run as the authors do: every row to the last step, and null text fitted on all of them."
    )

    frame_attention: str = option(
        "sparse", "Frames that a frame attends to.", choices=("own", "first", "sparse", "dense")
    )
    dense_layers: str = option(
        "paper", "Self-attention layers that see all frames, whatever the rest does.", choices=("none", "paper", "all")
    )

    replace_window: float = option(
        0.8, "Part of the steps with the source's text maps when words are swapped.", low=0.0, high=1.0
    )
    refine_window: float = option(
        0.4, "Part of the steps with the source's text maps when words are added.", low=0.0, high=1.0
    )
    subject_window: float = option(
        0.3, "The same, at most, where the main thing is replaced by another shape.", low=0.0, high=1.0
    )
    subject_guidance: float = option(
        1.0, "How many times stronger guidance is where the main thing is replaced.", low=0.1, high=10.0
    )
    setting_guidance: float = option(
        0.8,
        "How many times as strong guidance is where only the place, the time or the look changes.",
        low=0.1,
        high=10.0,
    )
    word_weights: Mapping[str, float] = field(
        default_factory=dict,
        metadata={
            "help": "Strength of single target words, e.g. snow=1.5.",
            "low": -5.0,
            "high": 10.0,
            "advanced": True,
        },
    )

    blend: bool = option(True, "Keep the source outside the changed words' region.")
    blend_region: str = option(
        "difference",
        "How that region is found: by the words' attention, or by where the two prompts' predictions differ.",
        choices=("attention", "difference"),
    )
    blend_threshold: float = option(0.3, "Map value from which a place counts as changed.", low=0.0, high=1.0)
    blend_start: float = option(0.2, "Part of the steps after which the blend begins.", low=0.0, high=1.0)
    kept_window: float = option(
        0.6,
        "Part of the steps on which the main thing stays as it is in a new place.",
        low=0.0,
        high=1.0,
    )
    keep_detail: bool = option(True, "Give the clip's own detail back where the edit changed nothing.")
    spatial_pixel_weight: float = option(0.0, "Weight of the pixel difference to the source.", low=0.0, high=100.0)
    spatial_gradient_weight: float = option(0.0, "Weight of the difference of image gradients.", low=0.0, high=100.0)
    spatial_window: Window = option((0.6, 1.0), "Steps on which the spatial loss acts.", low=0.0, high=1.0)
    spatial_every: int = option(3, "The spatial loss acts on every k-th step of its window.", low=1, high=50)

    def validated(self) -> Self:
        """Return self, or raise `EditError` naming the first value that cannot be used and what is allowed."""
        for f in fields(self):
            _check(f, getattr(self, f.name))
        if not self.source.strip():
            raise EditError("Say what the clip shows (source prompt), for example: a red car on the road.")
        if not self.targets or not all(t.strip() for t in self.targets):
            raise EditError(
                "Say what the clip should show instead (target prompt), for example: a blue car on the road."
            )
        if self.preset not in PRESETS:
            raise EditError(f"There is no preset '{self.preset}'. Presets: {', '.join(PRESETS)}.")
        if self.inversion == "null_text" and self.guidance_base != "empty":
            raise EditError(
                f"inversion null_text fits the empty prompt, but guidance_base is '{self.guidance_base}', so the fit "
                "would not be used. Set guidance_base to empty, or inversion to pinned."
            )
        if self.end is not None and self.end <= self.start:
            raise EditError(f"The interval from {self.start:g} s to {self.end:g} s is empty: the end must come later.")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from `to_dict`'s form. Unknown names raise `EditError`."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise EditError(f"Unknown setting {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        # JSON has lists for tuples; anything else keeps its type and is refused by `validated`
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @classmethod
    def from_preset(cls, preset: str = "balanced", **values: Any) -> Self:  # noqa: ANN401
        """The preset's numbers, overridden by `values`; values that are None keep the preset's."""
        if preset not in PRESETS:
            raise EditError(f"There is no preset '{preset}'. Presets: {', '.join(PRESETS)}.")
        given = {k: v for k, v in values.items() if v is not None}
        return cls.from_dict({**PRESETS[preset], "preset": preset, **given})


def _check(f: dataclasses.Field, value: Any) -> None:  # noqa: ANN401
    """Raise `EditError` when `value` is not of the kind, the range or the choices of field `f`."""
    if not _fits(f.type, value):
        raise EditError(f"{f.name} is {value!r}. Allowed: {_kind_in_words(f.type)}{_range_in_words(f)}.")
    low, high, choices = (f.metadata.get(k) for k in ("low", "high", "choices"))
    if choices and value not in choices:
        raise EditError(f"{f.name} is '{value}'. Allowed: {', '.join(choices)}.")
    if low is None or value is None:
        return
    numbers = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
    if not all(low <= n <= (math.inf if high is None else high) for n in numbers):
        raise EditError(f"{f.name} is {value}. Allowed: {_kind_in_words(f.type)}{_range_in_words(f)}.")
    if isinstance(value, tuple) and value[0] > value[1]:
        raise EditError(f"{f.name} is {value}: the start must not come after the end.")


def _fits(kind: Any, value: Any) -> bool:  # noqa: ANN401
    """Whether `value` is of the annotated `kind`; what comes from a web form or a file may be anything."""
    inner = get_args(kind)
    if isinstance(kind, types.UnionType):
        return any(_fits(k, value) for k in inner)
    if get_origin(kind) is tuple and isinstance(value, tuple):
        kinds = (inner[0],) * len(value) if inner[-1] is Ellipsis else inner
        return len(value) == len(kinds) and all(map(_fits, kinds, value))
    if get_origin(kind) is Mapping and isinstance(value, Mapping):
        return all(_fits(inner[0], k) and _fits(inner[1], v) for k, v in value.items())
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool) and math.isfinite(value)
    return get_origin(kind) is None and isinstance(value, kind)


def _kind_in_words(kind: Any) -> str:  # noqa: ANN401
    """What may be given for an annotated `kind`, for a message."""
    if isinstance(kind, types.UnionType):
        return _kind_in_words(get_args(kind)[0])
    if get_origin(kind) is Mapping:
        return "a number for each word"
    if get_origin(kind) is tuple:
        return "texts" if get_args(kind)[-1] is Ellipsis else "two numbers"
    return {str: "text", bool: "true or false", int: "a whole number", float: "a number"}[kind]


def _range_in_words(f: dataclasses.Field) -> str:
    low, high = f.metadata.get("low"), f.metadata.get("high")
    if low is None:
        return ""
    return f", {low:g} or more" if high is None else f", {low:g} to {high:g}"


PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2303.17599 as its authors run it; frozen by a test.
    "paper": {
        "steps": 50,
        "guidance_scale": 7.5,
        "guidance_stop": 1.0,
        "inversion": "null_text",
        "inversion_prompt": "empty",
        "null_text_inner_steps": 1,
        "null_text_window": (0.5, 1.0),
        "residual": 0.0,
        "guidance_base": "empty",
        "self_attention": "own",
        "as_published": True,
        "frame_attention": "sparse",
        "dense_layers": "paper",
        "replace_window": 0.8,
        "refine_window": 0.4,
        "subject_window": 1.0,
        "subject_guidance": 1.0,
        "setting_guidance": 1.0,
        "blend": False,
        "keep_detail": False,
        "spatial_pixel_weight": 0.0,
        "spatial_gradient_weight": 0.0,
    },
    # Found with the built-in model on the search half of the evaluation's tasks, see LOG.md.
    # UNet evaluations per frame: N inversion, 2N source and target, and one more on each guided step.
    "balanced": {
        "steps": 26,
        "guidance_scale": 1.5,
        "guidance_stop": 0.4,
    },  # 26 + 52 + 11 = 89; a further target 26 + 11 = 37
    "fast": {
        "steps": 19,
        "guidance_scale": 1.5,
        "guidance_stop": 0.4,
    },  # 19 + 38 + 8 = 65; a further target 19 + 8 = 27
}
"""Preset name -> the fields in which it differs from the defaults above."""
