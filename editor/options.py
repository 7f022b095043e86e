"""Fields of a request that know their range, their allowed values and their explanation, and the check of a value."""

import math
import types
import unicodedata
from collections.abc import Mapping
from dataclasses import Field, field
from typing import Any, get_args, get_origin

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
    """A dataclass field that carries its range, its allowed values and its one-line explanation.

    `default` may be a class to be called for a fresh value, such as `dict`.
    """
    meta = {"help": help, "low": low, "high": high, "choices": choices, "advanced": advanced}
    return field(default_factory=default, metadata=meta) if default is dict else field(default=default, metadata=meta)


QUOTED = 80
"""Characters of a value that a message repeats."""
LARGEST = 1e15
"""No number of an edit is anywhere near it; beyond it Python's own conversions begin to fail."""


def quoted(value: object) -> str:
    """A value as a message repeats it: in one line, cut where it is long."""
    text = " ".join(str(value)[: 4 * QUOTED].encode("utf-8", "replace").decode().split())
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def check(f: Field, value: Any) -> None:  # noqa: ANN401
    """Raise `EditError` when `value` is not of the kind, the range or the choices of field `f`."""
    if not _fits(f.type, value):
        shown = quoted(repr(value)) if _printable(value) else "no text that can be read"
        raise EditError(f"{f.name} is {shown}. Allowed: {_kind_in_words(f.type)}{_range_in_words(f)}.")
    low, high, choices = (f.metadata.get(k) for k in ("low", "high", "choices"))
    if choices and value not in choices:
        raise EditError(f"{f.name} is '{quoted(value)}'. Allowed: {', '.join(choices)}.")
    if low is None or value is None:
        return
    numbers = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
    if not all(low <= n <= (math.inf if high is None else high) for n in numbers):
        raise EditError(f"{f.name} is {quoted(value)}. Allowed: {_kind_in_words(f.type)}{_range_in_words(f)}.")
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
        return isinstance(value, int | kind) and not isinstance(value, bool) and abs(value) <= LARGEST
    return get_origin(kind) is None and isinstance(value, kind) and _printable(value)


def _printable(value: object) -> bool:
    """Whether a text is whole Unicode without control characters other than white space; other values are."""
    if not isinstance(value, str):
        return True
    return not any(unicodedata.category(c) in ("Cc", "Cs") and not c.isspace() for c in value)


def _kind_in_words(kind: Any) -> str:  # noqa: ANN401
    """What may be given for an annotated `kind`, for a message."""
    if isinstance(kind, types.UnionType):
        return _kind_in_words(get_args(kind)[0])
    if get_origin(kind) is Mapping:
        return "a number for each word"
    if get_origin(kind) is tuple:
        return "texts" if get_args(kind)[-1] is Ellipsis else "two numbers"
    return {str: "text without control characters", bool: "true or false", int: "a whole number", float: "a number"}[
        kind
    ]


def _range_in_words(f: Field) -> str:
    low, high = f.metadata.get("low"), f.metadata.get("high")
    if low is None:
        return ""
    return f", {low:g} or more" if high is None else f", {low:g} to {high:g}"
