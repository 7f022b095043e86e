"""`read_edit`: what changes from one sentence to another, of which kind, what must be kept; in words for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from editor.reading.alignment import align, in_place, respelt
from editor.reading.changes import SETTINGS, SHAPED, Change, Kind, changes
from editor.reading.lexicon import bare
from editor.reading.roles import THINGS, Role
from editor.reading.sentence import parse

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


MOST_WORDS = 80
"""Words of a sentence that are compared: a text encoder reads 75 tokens, and a word has at least one."""


class Shapes(StrEnum):
    """Whether the source's shapes may be held."""

    HELD = "held"
    UNSURE = "unsure"
    FREE = "free"


@dataclass(frozen=True)
class Reading:
    """What two sentences say about an edit; indices count words between spaces.

    `source`, `target`: the words that were compared. `pairs`: equal words as (source index, target index), in order;
    `gone`, `new`: the indices of the others. `swaps`: single words are exchanged and the rest stands at its old place.
    `changes`: what becomes what, and of which kind. `kind`: theirs, "same" without any, "several" for different ones.
    `main`: words of the source that name the main thing; `kept`: those of them that must stay as they are. `subject`:
    the new thing's word where one replaces another. `brought_in`: a preposition brings in a new word.
    `shapes`: whether the source's shapes may be held. `meaning`: what changes, for a person.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    gone: tuple[int, ...]
    new: tuple[int, ...]
    swaps: bool
    changes: tuple[Change, ...]
    kind: Kind
    main: tuple[int, ...]
    kept: tuple[int, ...]
    subject: str
    brought_in: bool
    shapes: Shapes
    meaning: str

    @property
    def only_setting(self) -> bool:
        """Whether nothing but the place, the time or the look changes, comes or goes."""
        return bool(self.changes) and all(change.kind in SETTINGS for change in self.changes)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The words for the page's marks."""
        return pieces(self.source, self.target, self.pairs)

    def word(self, index: int) -> str:
        """A word of the source without punctuation."""
        return bare(self.source[index])

    def named(self, indices: Sequence[int]) -> str:
        """These words of the source as a list for a person."""
        return " and ".join(self.word(i) for i in indices)


@lru_cache(maxsize=512)
def read_edit(source: str, target: str) -> Reading:
    """Compare two sentences. Never raises; only their first `MOST_WORDS` words are read."""
    ours, theirs = source.split()[:MOST_WORDS], target.split()[:MOST_WORDS]
    pairs = align(ours, theirs)
    swaps = in_place(ours, theirs, pairs)
    if swaps:
        pairs = [(i, i) for i in range(len(ours)) if bare(ours[i]) == bare(theirs[i])]
    stay, come = {i for i, _ in pairs}, {j for _, j in pairs}
    gone = [i for i in range(len(ours)) if i not in stay]
    new = [j for j in range(len(theirs)) if j not in come]
    before, after = parse(ours), parse(theirs)
    old_spelling, new_spelling = respelt(ours, theirs, pairs)
    told_gone = [i for i in gone if i not in old_spelling]
    found = changes(before, after, told_gone, [j for j in new if j not in new_spelling])
    main = tuple(before.heads(Role.MAIN))
    subject = next((j for j in after.heads(*THINGS) if j in new), None)
    exchanged = any(c.kind is Kind.SUBJECT and c.sure for c in found)
    return Reading(
        source=tuple(ours),
        target=tuple(theirs),
        pairs=tuple(pairs),
        gone=tuple(gone),
        new=tuple(new),
        swaps=swaps,
        changes=found,
        kind=_kind(found),
        main=main,
        kept=tuple(i for i in main if i in stay) if _only_place(found) else (),
        subject=bare(theirs[subject]) if exchanged and subject is not None else "",
        brought_in=any(after.is_head(j) and after.brought_in(j) for j in new),
        shapes=_shapes(found),
        meaning=meaning(found, mostly=max(len(gone), len(new)) > len(pairs) + 1),
    )


def _kind(found: Sequence[Change]) -> Kind:
    kinds = {Kind.PLACE} if _only_place(found) else {change.kind for change in found}
    return Kind.SAME if not kinds else kinds.pop() if len(kinds) == 1 else Kind.SEVERAL


def _only_place(found: Sequence[Change]) -> bool:
    """Whether another place is named and nothing else changes but for a time that is no longer told."""
    placed = any(change.kind is Kind.PLACE and change.after for change in found)
    return placed and all(c.kind is Kind.PLACE or (c.kind is Kind.TIME and not c.after) for c in found)


def _shapes(found: Sequence[Change]) -> Shapes:
    """Fails open: where it is unsure whether a shape changes it may."""
    if any(change.kind in SHAPED and change.sure for change in found):
        return Shapes.FREE
    return Shapes.UNSURE if any(not c.sure for c in found) else Shapes.HELD
