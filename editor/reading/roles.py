"""What a phrase tells: the main thing, another one, a place, a time or a look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from editor.reading.lexicon import pair_kind
from editor.reading.tags import ADJ, BE, DET, ED, NOUN, NUM, OF, PRON, Word


class Role(StrEnum):
    """What a word's phrase tells."""

    MAIN = "main"
    """The thing that the sentence is about."""
    OBJECT = "object"
    """What something is done to."""
    BESIDE = "beside"
    """A thing beside, or a part: "with a hat", "wearing a hat", "surrounded by flowers"."""
    ACTION = "action"
    PLACE = "place"
    TIME = "time"
    LOOK = "look"
    QUALITY = "quality"
    """Said of a thing behind it: "is red", "made of glass"."""
    NONE = "none"
    """Words that tell nothing by themselves."""


@dataclass
class Phrase:
    """Words that belong together. `words`: all indices; `heads`: the nouns that name it; `links`: its prepositions."""

    role: Role
    words: list[int] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)


THINGS = (Role.MAIN, Role.OBJECT, Role.BESIDE)
CARRY_VERBS = frozenset("wear hold carry have".split())
GAZE_VERBS = frozenset("look face stare gaze point turn lean glance smile wave".split())
BACKGROUND = frozenset("background distance backdrop foreground behind".split())
RELATIONS = frozenset("front top back middle center centre side edge inside shape form".split())
"""Nouns that make a preposition with "of": "in front of", "on top of"."""
PICTURES = frozenset(
    "photo photograph picture image painting drawing sketch video footage clip film movie illustration portrait render "
    "rendering shot view scene animation closeup close-up cartoon watercolor watercolour poster print snapshot gif "
    "timelapse artwork depiction engraving collage mosaic".split()
)
STATUES = frozenset("statue sculpture figurine statuette".split())
"""Nouns before "of" that say what a thing is made as."""
MADE = frozenset("make cover fill paint build carve craft form compose".split())


SOMEWHERE = frozenset("underwater outdoors indoors outside inside upstairs downstairs offshore".split())
"""Words that are a place by themselves."""
GAMES = frozenset("play do practice practise perform".split())


class Context:
    """What was read of a sentence so far, and what the next phrase tells after that."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.phrases: list[Phrase] = []
        self.links: list[int] = []
        self.verb: Word | None = None
        """The last verb of the clause, if no phrase came behind it yet."""
        self.acted = False
        self.tail = False
        """Whether the words stand behind a comma, with no article or verb so far."""
        self.joined = False
        self.quality_of: Word | None = None

    def _kind(self, i: int) -> str:
        """The kind of the noun i, with the word before it where they are one noun."""
        joined = i > 0 and self.words[i - 1].tag in (ADJ, NOUN) and not self.words[i - 1].mark
        pair = pair_kind(self.words[i - 1].bare, self.words[i].bare) if joined else ""
        return pair or self.words[i].entry.kind

    def role(self, run: Sequence[int], heads: Sequence[int]) -> Role:
        """What a phrase of these words tells, by what stands before it and by the kind of its head."""
        if not heads:
            if self.tail and not self.links and self.verb is None:  # ", photorealistic"
                return Role.LOOK
            return Role.QUALITY if self.verb is not None or not self.links else self._linked(run, None)
        head, kind = self.words[heads[0]], self._kind(heads[0])
        if self.links:
            return self._linked(run, head)
        if self.joined and self.phrases:
            before = next((p.role for p in reversed(self.phrases) if p.heads), None)
            if before is not None and kind not in ("time", "look"):
                return before
        if head.bare in SOMEWHERE:
            return Role.PLACE
        main = any(p.role is Role.MAIN for p in self.phrases)
        if self.verb is not None and main:
            return self._object(run, head)
        if self.tail or not main:
            told = self._apposed(run, head, main)
            if told is not None:
                return told
        if not main:
            return Role.MAIN
        if head.tag == PRON:
            return Role.NONE
        begins = self.words[run[0] - 1].mark in tuple(".;!?") if run[0] else True
        return Role.MAIN if begins else Role.OBJECT if self.acted and not self.tail else Role.BESIDE

    def _object(self, run: Sequence[int], head: Word) -> Role:
        verb = self.verb
        if verb.tag == BE:
            return Role.QUALITY if head.entry.kind in ("colour", "material") else Role.OBJECT
        if verb.base in GAMES and head.entry.kind in ("act", "other"):  # "playing soccer"
            return Role.ACTION
        return Role.BESIDE if verb.base in CARRY_VERBS else Role.OBJECT

    def _apposed(self, run: Sequence[int], head: Word, main: bool) -> Role | None:
        """A phrase between commas: mostly a look or a light; None where it is a thing."""
        kind = self._kind(run[-1])
        kinds = {kind, *(self.words[j].entry.kind for j in run[:-1] if self.words[j].tag == NOUN)}
        ends = self.words[run[-1]].mark == "," or run[-1] + 1 == len(self.words)
        plain = self.words[run[0]].tag not in (DET, NUM)
        if not (ends and (plain or head.entry.kind in ("look", "time"))) or (
            not main and len(self.words) == run[-1] + 1
        ):
            return None
        if "time" in kinds and ("look" not in kinds or head.bare in ("colors", "colours")):
            return Role.TIME
        if "look" in kinds or head.bare == "lights" or any(self.words[j].base in PICTURES for j in run):
            return Role.LOOK
        if not main:
            return None
        if kind in ("animal", "person", "clothing", "food", "thing", "place") and not head.capital:
            return None
        return Role.LOOK

    def _linked(self, run: Sequence[int], head: Word | None) -> Role:
        """What a phrase behind prepositions tells."""
        first = self.words[self.links[0]].bare
        kind = self._kind(run[-1]) if head else ""
        kinds = {kind, *(self.words[j].entry.kind for j in run[:-1] if self.words[j].tag == NOUN)}
        before = next((p for p in reversed(self.phrases) if p.heads or p.role in (Role.ACTION, Role.QUALITY)), None)
        if self.words[self.links[-1]].tag == OF and len(self.links) == 1 and before is not None:
            return self._of(before, head)
        if before is not None and before.role is Role.QUALITY and not before.heads:  # "made of", "covered in"
            return Role.QUALITY
        if head is not None and head.bare in BACKGROUND:
            return self._behind(before)
        if first in ("as", "like") or ("look" in kinds and len(self.links) == 1 and first in ("in", "with", "by")):
            return Role.LOOK
        if first in ("during", "until") or (kind == "time" and not self._enters(first, head)):
            return Role.TIME
        if "time" in kinds and kind in ("other", "material"):
            return Role.TIME
        if self.verb is not None and self.verb.base in GAZE_VERBS:
            return Role.ACTION
        if self.words[run[0]].bare in ("his", "her", "its", "their") or (
            first == "on" and kind in ("animal", "person")
        ):
            return Role.BESIDE  # "in its mouth", "on a horse"
        if first in ("with", "without"):
            return Role.PLACE if kind == "place" else Role.BESIDE
        if (
            first == "by"
            and before is not None
            and before.role is Role.ACTION
            and self.words[before.words[-1]].tag == ED
        ):
            return Role.PLACE if kind == "place" else Role.BESIDE
        if first == "in" and (kind == "clothing" or (kind in ("colour",) and head)):
            return Role.BESIDE if kind == "clothing" else Role.QUALITY
        if head is not None and head.tag == PRON:
            return Role.NONE
        return Role.PLACE

    def _enters(self, first: str, head: Word) -> bool:
        """Whether snow or the sky is where something is rather than the weather."""
        where = {"snow": ("in", "on", "through", "into", "over", "across", "under", "near"), "light": ("under", "near")}
        sky = ("in", "into", "across", "through", "to", "toward", "towards", "from", "of")
        return first in where.get(head.base, sky if head.base == "sky" else ())

    def _behind(self, before: Phrase | None) -> Role:
        """ "in the background": what was brought in by "with" is the place then, unless it is alive."""
        if before is None or before.role not in (Role.BESIDE, Role.PLACE, Role.TIME):
            return Role.PLACE
        group = [p for p in self.phrases[-2:] if p.role is Role.BESIDE]
        if any(self.words[h].entry.kind in ("animal", "person") for p in group for h in p.heads):
            return Role.BESIDE
        for phrase in group:
            phrase.role = Role.PLACE
        return before.role

    def _of(self, before: Phrase, head: Word | None) -> Role:
        """ "of" goes with the phrase before it; behind the name of a picture comes what the picture shows."""
        if before.heads and self.words[before.heads[0]].base in PICTURES | STATUES:
            if not any(p.role is Role.MAIN for p in self.phrases):
                return Role.MAIN
        return before.role
