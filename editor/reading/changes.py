"""From two sentences' phrases to what changes: grouped by what the words do, and named by what they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from editor.reading.lexicon import look_up
from editor.reading.roles import Role
from editor.reading.sentence import Sentence, Side
from editor.reading.tags import ADJ, ADV, ED, ING, NOUN, NUM, PREP, VERB, Word


class Kind(StrEnum):
    """What an edit, or one change of it, is."""

    SAME = "same"
    COLOUR = "colour"
    SUBJECT = "subject"
    SHAPE = "shape-attribute"
    ADDITION = "addition"
    REMOVAL = "removal"
    PLACE = "place"
    TIME = "time"
    LOOK = "look"
    SEVERAL = "several"


SHAPED = (Kind.SUBJECT, Kind.SHAPE, Kind.ADDITION, Kind.REMOVAL)
"""Kinds that ask for another shape."""
SETTINGS = (Kind.PLACE, Kind.TIME, Kind.LOOK)
"""Kinds that leave every thing what it is."""
NEAR = frozenset("in on at by near beside onto inside within the a upon".split())
"""Prepositions that are exchanged without moving anything: "on the street", "in the street"."""
TURNS = frozenset("up down forward backward backwards left right away toward towards off".split())
WEATHER = frozenset(
    "cloudy sunny rainy snowy foggy stormy clear overcast starry misty hazy dark cloudless bright".split()
)
STATES = frozenset(
    "open closed shut empty full crowded deserted broken bent folded curly straight wavy bald bearded shaved round "
    "square short long tall blooming melting melted asleep awake lying upside".split()
)
"""Adjectives of shape that are no value of an attribute in WordNet."""
AGES = frozenset("old young ancient new baby elderly vintage antique".split())


@dataclass(frozen=True)
class Change:
    """`before` becomes `after`, either of which may be empty, as written; `sure` is False where `kind` is a guess."""

    before: str
    after: str
    kind: Kind
    sure: bool = True
    action: bool = False


def changes(source: Sentence, target: Sentence, gone: Sequence[int], new: Sequence[int]) -> tuple[Change, ...]:
    """What becomes what. Words of one role on both sides are one change."""
    here, there = (
        [side.words[i].base for i in range(len(side.words)) if i not in own and side.is_head(i)]
        for side, own in ((source, gone), (target, new))
    )
    gone = [i for i in gone if not (source.is_head(i) and source.words[i].base in there)]
    new = [j for j in new if not (target.is_head(j) and target.words[j].base in here)]
    found = []
    order = (Role.MAIN, Role.ACTION, Role.OBJECT, Role.BESIDE, Role.QUALITY, Role.PLACE, Role.TIME, Role.LOOK)
    roles = [r for r in order if any(source.role(i) is r for i in gone) or any(target.role(j) is r for j in new)]
    sides = {
        role: (
            Side(source, tuple(i for i in gone if source.role(i) is role)),
            Side(target, tuple(j for j in new if target.role(j) is role)),
        )
        for role in roles
    }
    for role in roles:
        change = _CHANGES[role](*sides[role]) if role in _CHANGES else _thing(*sides[role])
        if change is not None:
            found.append(replace(change, action=role is Role.ACTION))
    return tuple(_merged(found))


def _merged(found: list[Change]) -> list[Change]:
    """An action that comes or goes together with a thing or a place belongs to it: "wearing a hat"."""
    come = any(c.kind in (Kind.ADDITION, Kind.PLACE) and c.after for c in found)
    gone = any(c.kind in (Kind.REMOVAL, Kind.PLACE) and c.before for c in found)
    return [
        c
        for c in found
        if not (c.kind is Kind.SHAPE and c.action and ((come and not c.before) or (gone and not c.after)))
    ]


def _thing(before: Side, after: Side) -> Change | None:
    """A thing's phrase: another thing, one more or less, another number, or another quality."""
    if before.lacks != after.lacks:
        return _change(before, after, Kind.REMOVAL if after.lacks else Kind.ADDITION)
    if not before.told and not after.told:
        return None
    old, new = before.named, after.named
    if old and new:
        if old == new:
            return _change(before, after, Kind.SHAPE)  # "a cow" to "cows"
        return _change(before, after, Kind.SUBJECT)
    if old or new:
        return _come_or_gone(before, after)
    if _renamed(before, after):
        return _change(before, after, Kind.SUBJECT)
    return _quality(before, after)


def _come_or_gone(before: Side, after: Side) -> Change:
    """A thing on one side alone; with other qualities of the old one on the other side it is exchanged."""
    side, other, kind = (after, before, Kind.ADDITION) if after.heads else (before, after, Kind.REMOVAL)
    if other.told and any(w.tag == NOUN for w in other.words):
        kind = Kind.SUBJECT
    kinds = {side.sentence.words[i].entry.kind for i in side.heads}
    return _change(before, after, kind, sure=kinds != {""})


def _renamed(before: Side, after: Side) -> bool:
    """Whether the head stays and belongs to a name on one side only: "a man" to "Iron Man"."""
    return before.in_name != after.in_name


def _quality(before: Side, after: Side) -> Change | None:
    """Another quality of a thing that stays: colour, material, size, number, or another sort of it."""
    words = [*before.words, *after.words]
    if any(w.tag == NUM for w in words):
        return _change(before, after, Kind.SHAPE)
    if any(w.tag == ADJ and (w.entry.shape or w.bare in STATES) for w in words):
        return _change(before, after, Kind.SHAPE)
    nouns = [w for w in words if w.tag == NOUN]
    if nouns and all(w.entry.kind == "look" for w in nouns):  # "a cartoon kitten"
        return _change(before, after, Kind.LOOK)
    if before.named_sort or after.named_sort:
        return _change(before, after, Kind.SUBJECT, sure=False)
    if before.of_food and after.of_food:  # "a chocolate cake": another flavour
        words = [w for w in words if w.entry.kind != "food"]
    sorts = [w for w in words if w.tag == NOUN and w.entry.kind not in ("material", "colour", "look", "time", "place")]
    if sorts:  # "a jeep car": another sort may have another shape
        return _change(before, after, Kind.SUBJECT, sure=False)
    return _change(before, after, Kind.COLOUR, sure=not any(w.bare in AGES for w in words))


def _said(before: Side, after: Side) -> Change | None:
    """A quality said behind the thing: "is red", "made of glass"."""
    return _change(before, after, Kind.COLOUR) if before.told or after.told else None


def _action(before: Side, after: Side) -> Change | None:
    """What is being done."""
    old, new = before.bases((VERB, ING, ED, ADV, NOUN, ADJ, NUM)), after.bases((VERB, ING, ED, ADV, NOUN, ADJ, NUM))
    if old == new:
        turned = {w.bare for side in (before, after) for w in (side.sentence.words[i] for i in side.indices)} & TURNS
        return _change(before, after, Kind.SHAPE) if turned else None
    return _change(before, after, Kind.SHAPE)


def _of_surface(word: Word) -> bool:
    """Whether the word is a colour or a material: "red", "marble", "wooden"."""
    kind = look_up(word.bare.removesuffix("en")).kind if word.bare.endswith("en") else word.entry.kind
    return kind in ("colour", "material")


def _place(before: Side, after: Side) -> Change | None:
    """Where it is."""
    if not before.told and not after.told:
        links = {
            s.sentence.words[i].bare for s in (before, after) for i in s.indices if s.sentence.words[i].tag == PREP
        }
        if links & TURNS:
            return Change(before.sentence.text(before.indices), after.sentence.text(after.indices), Kind.SHAPE)
        if links - NEAR:
            return Change(
                before.sentence.text(before.indices), after.sentence.text(after.indices), Kind.PLACE, sure=False
            )
        return None
    words = [*before.words, *after.words]
    if not before.heads and not after.heads and all(_of_surface(w) for w in words):
        return _change(before, after, Kind.COLOUR)
    if not before.heads and not after.heads and any(w.bare in WEATHER for w in words) and before.of_sky(after):
        return _change(before, after, Kind.TIME)
    heads = [s.sentence.words[i].entry.kind for s in (before, after) for i in s.heads]
    if before.heads and after.heads and all(kind in ("animal", "person", "clothing", "food") for kind in heads):
        return _change(before, after, Kind.SUBJECT)
    return _change(
        before,
        after,
        Kind.PLACE,
        sure=not any(kind in ("animal", "thing", "food", "clothing", "look") for kind in heads),
    )


def _time(before: Side, after: Side) -> Change | None:
    return _change(before, after, Kind.TIME) if before.told or after.told else None


def _look(before: Side, after: Side) -> Change | None:
    return _change(before, after, Kind.LOOK) if before.told or after.told else None


def _change(before: Side, after: Side, kind: Kind, sure: bool = True) -> Change:
    return Change(before.text, after.text, kind, sure)


_CHANGES = {
    Role.ACTION: _action,
    Role.QUALITY: _said,
    Role.PLACE: _place,
    Role.TIME: _time,
    Role.LOOK: _look,
}
