"""A reading in words for a person, and its words in pieces for the page's marks."""

from collections.abc import Sequence
from dataclasses import dataclass

from editor.reading.changes import Change, Kind

NAMES = {
    Kind.COLOUR: "colour or quality",
    Kind.SUBJECT: "subject",
    Kind.SHAPE: "shape or action",
    Kind.ADDITION: "addition",
    Kind.REMOVAL: "removal",
    Kind.PLACE: "place",
    Kind.TIME: "time or light",
    Kind.LOOK: "look",
}
NOTHING = "Nothing changes: both sentences say the same thing."
MOSTLY = "Most words differ, so the result will follow the clip only loosely. Keep the words that stay true."
REMOVED = "It works better to say what should be there instead."


@dataclass(frozen=True)
class Piece:
    """Words that stand together: kept, or gone from the source, or new in the target; one of both may be empty."""

    source: str
    target: str
    kept: bool


def pieces(source: Sequence[str], target: Sequence[str], pairs: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """The sentences as runs of kept words and what stands between them; equally many are exchanged word by word."""
    found: list[Piece] = []
    run: list[str] = []
    i = j = 0
    for a, b in [*pairs, (len(source), len(target))]:
        if (a, b) != (i, j) and run:
            found.append(Piece("", " ".join(run), True))
            run = []
        old, new = source[i:a], target[j:b]
        if len(old) == len(new):
            found += [Piece(x, y, False) for x, y in zip(old, new, strict=True)]
        elif old or new:
            found.append(Piece(" ".join(old), " ".join(new), False))
        run += target[b : b + 1]
        i, j = a + 1, b + 1
    return (*found, Piece("", " ".join(run), True)) if run else tuple(found)


def meaning(changes: Sequence[Change], mostly: bool) -> str:
    """What changes, in one or two sentences."""
    if not changes:
        return NOTHING
    said = "; ".join(f"{_what(change)} ({NAMES[change.kind]})" for change in changes)
    sentences = [said[0].upper() + said[1:] + "."]
    if mostly:
        sentences.append(MOSTLY)
    elif all(change.kind is Kind.REMOVAL for change in changes):
        sentences.append(REMOVED)
    return " ".join(sentences)


def _what(change: Change) -> str:
    if change.before and change.after:
        return f"“{change.before}” becomes “{change.after}”"
    return f"“{change.after}” is added" if change.after else f"“{change.before}” is removed"
