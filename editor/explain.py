"""`python -m editor explain`: how two sentences are read, and what an edit with them would do. Imports no torch."""

import argparse
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from editor.events import EditError
from editor.method.control import control, settled
from editor.presets import STRENGTHS
from editor.reading import read_edit
from editor.request import PRESETS, EditRequest

COLUMNS = ("source", "target")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    parser.add_argument("--source", help="What the clip shows.")
    parser.add_argument("--target", help="What it should show instead.")
    parser.add_argument(
        "--pairs", type=Path, metavar="FILE.tsv", help="Many pairs: a table with the columns source and target."
    )
    parser.add_argument("--model", default=EditRequest.model, help="The model, whose family determines the numbers.")
    parser.add_argument("--preset", choices=tuple(PRESETS), default=EditRequest.preset, help="The preset to explain.")
    parser.add_argument("--strength", choices=STRENGTHS, default=EditRequest.strength, help="How strong the edit is.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of lines.")


def lines(args: argparse.Namespace) -> Iterator[str]:
    """The lines to print. Raises `EditError` for sentences or a file that cannot be used."""
    one = args.source is not None or args.target is not None
    if one and args.pairs is not None:
        raise EditError("Give either --source and --target, or --pairs, not both.")
    if not one and args.pairs is None:
        raise EditError("Give --source and --target, or --pairs with a table of both.")
    asked = {"model": args.model, "preset": args.preset, "strength": args.strength}
    if args.pairs is not None:
        for pair in read_pairs(args.pairs):
            yield json.dumps(explain(*pair, **asked), ensure_ascii=False)
        return
    found = explain(args.source or "", args.target or "", **asked)
    if args.json:
        yield json.dumps(found, ensure_ascii=False)
    else:
        yield from _readable(found)


def explain(source: str, target: str, **asked: str) -> dict[str, Any]:
    """The reading and its consequences as JSON values. Raises `EditError` for empty sentences and unknown names."""
    request = EditRequest.from_preset(source=source, targets=(target,), **asked).validated()
    origin, request = request.origin(), settled(request)
    found = control(read_edit(source, target), request).explanation()
    return {"source": source, "target": target, **found, "origin": origin}


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a table whose first line names its columns. Raises `EditError` for what cannot be used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise EditError(f"The table '{path}' cannot be read: {why}. Give a tab-separated file.") from error
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise EditError(
            f"The table '{path}' has no column {' and no column '.join(missing)}. Its first line names them."
        )
    pairs = []
    for row in rows:
        pair = tuple((row[name] or "").strip() for name in COLUMNS)
        if not all(pair):
            empty = COLUMNS[pair.index("")]
            raise EditError(f"Line {rows.line_num} of '{path}' has an empty {empty}. Write a sentence in both columns.")
        pairs.append(pair)
    if not pairs:
        raise EditError(f"The table '{path}' has no pairs. Write one per line below the names of the columns.")
    return pairs


def _readable(found: dict[str, Any]) -> Iterator[str]:
    """An explanation for the terminal."""
    yield found["meaning"]
    yield f"  kind: {found['kind']}"
    for change in found["changes"]:
        yield f"  change: {change['from'] or '(nothing)'} -> {change['to'] or '(nothing)'}: {change['kind']}"
    yield f"  main thing: {found['main'] or '(none found)'}"
    for kept in found["kept"]:
        yield f"  kept: {kept['word']} ({kept['rule']})"
    yield f"  source's text maps: on {found['maps_until']:.0%} of the steps"
    yield f"  source's self-attention: on {found['self_attention_until']:.0%} of the steps"
    yield f"  steps: {found['steps']}"
    yield f"  guidance scale: {found['guidance']:g}"
    yield f"  numbers: {found['origin']}"
