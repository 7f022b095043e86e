"""Command-line flags derived from `EditRequest`, so that a field's name, help, range and choices stand in one place."""

import argparse
import types
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from editor.manifest import CHOICE, by_hand
from editor.media.region import region_text
from editor.request import PRESETS, EditRequest

SINGULAR = {"targets": "target", "word_weights": "word_weight", "loras": "lora"}  # flags that are given once per value


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag per field of `EditRequest`. A flag that is not given is None, so that the preset's value holds."""
    plain = parser.add_argument_group("what and where")
    advanced = parser.add_argument_group("how (a preset sets these; a flag overrides it)")
    for f in fields(EditRequest):
        group = advanced if f.metadata["advanced"] else plain
        group.add_argument(flag(f.name), dest=f.name, default=None, **_argument(f))


def request_from(args: argparse.Namespace, like: EditRequest | None = None) -> EditRequest:
    """The validated request that the flags ask for. Raises `EditError` on a value outside its range.

    `like`: an earlier request whose values hold where no flag is given. A flag that chooses other numbers (preset,
    model, family, strength) leaves of them only those that were set by hand.
    """
    given = {f.name: getattr(args, f.name) for f in fields(EditRequest)}
    for name in ("word_weights", "loras"):
        if given[name] is not None:
            given[name] = dict(given[name])
    if given["region"]:
        given["region"] = region_text(Path(given["region"]))
    if like is not None:
        given = _beside(like, given)
    preset = given.pop("preset") or EditRequest().preset
    return EditRequest.from_preset(preset, **given).validated()


def _beside(like: EditRequest, given: dict[str, Any]) -> dict[str, Any]:
    """The flags that are given, and what `like` says beside them."""
    flags = {name: value for name, value in given.items() if value is not None}
    if "steps" in flags:
        flags.setdefault("swap_steps", 0)  # steps that a person asks for are not shortened
    if not set(CHOICE) & set(flags):
        return {**vars(like), **flags}
    kept = {"preset": like.preset, "model": like.model, "strength": like.strength}
    return {**kept, **by_hand(like), **flags}


def numbers_lines(request: EditRequest) -> tuple[str, str]:
    """The numbers in force and where they come from, for the terminal."""
    shown = (
        f"{name} {' to '.join(f'{v:g}' for v in value)}" if isinstance(value, list) else f"{name} {value:g}"
        for name, value in request.numbers().items()
    )
    return f"numbers: {request.origin()}", f"  {', '.join(shown)}"


def flag(name: str) -> str:
    """The flag of a field: `--max-frames` for `max_frames`."""
    return "--" + SINGULAR.get(name, name).replace("_", "-")


def _argument(f: Field) -> dict[str, Any]:
    """The argparse keywords of field `f`: type, repetition, choices and help."""
    text = f.metadata["help"].replace("%", "%%") + _allowed(f)
    if f.name == "preset":
        return {"choices": tuple(PRESETS), "help": text}
    if f.name == "loras":
        return {"type": _lora, "action": "append", "metavar": "FILE=NUMBER", "help": text}
    if get_origin(f.type) is Mapping:
        return {"type": _word_weight, "action": "append", "metavar": "WORD=NUMBER", "help": text}
    if f.type is bool:
        return {"action": argparse.BooleanOptionalAction, "help": text}
    if get_origin(f.type) is tuple:
        if get_args(f.type)[-1] is Ellipsis:
            return {"action": "append", "metavar": "TEXT", "help": text}
        return {"type": float, "nargs": 2, "metavar": ("FROM", "TO"), "help": text}
    if f.name == "region":
        return {"metavar": "FILE", "help": text}
    choices = f.metadata["choices"]
    if choices:
        return {"choices": choices, "help": text}
    kind = _plain_type(f.type)
    return {"type": kind, "metavar": {str: "TEXT", int: "N", float: "X"}[kind], "help": text}


def _plain_type(annotation: Any) -> type:  # noqa: ANN401
    """`float` of `float | None`."""
    if isinstance(annotation, types.UnionType):
        return next(a for a in get_args(annotation) if a is not type(None))
    return annotation


def _allowed(f: Field) -> str:
    """The range and the default of a field, for its help text."""
    low, high = f.metadata["low"], f.metadata["high"]
    parts = [] if low is None else [f"{low:g} to {high:g}" if high is not None else f"{low:g} or more"]
    if f.default not in ("", (), None) and not callable(f.default) and isinstance(f.default, str | int | float | tuple):
        shown = " ".join(f"{v:g}" for v in f.default) if isinstance(f.default, tuple) else f.default
        parts.append(f"default {shown}")
    return f" ({'; '.join(parts)})" if parts else ""


def _word_weight(text: str) -> tuple[str, float]:
    """`snow=1.5` as ("snow", 1.5)."""
    word, separator, number = text.partition("=")
    try:
        if not (word and separator):
            raise ValueError
        return word, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not WORD=NUMBER, for example snow=1.5") from None


def _lora(text: str) -> tuple[str, float]:
    """`neon.safetensors=0.8` as ("neon.safetensors", 0.8); without a number its strength is 1."""
    file, separator, number = text.rpartition("=")
    if not separator:
        return text, 1.0
    try:
        return file, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not FILE=NUMBER, for example neon.safetensors=0.8") from None
