"""A parsed sentence, and the changed words of one role in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from editor.reading.lexicon import pair_kind
from editor.reading.phrases import phrases
from editor.reading.roles import Phrase, Role
from editor.reading.tags import ADJ, CONTENT, NOUN, PREP, Word, tagged


@dataclass(frozen=True)
class Sentence:
    """A sentence's words and, for each of them, its phrase."""

    words: tuple[Word, ...]
    phrases: tuple[Phrase, ...]

    def phrase(self, index: int) -> Phrase | None:
        """The phrase with the word `index`, as one of its own words or of its prepositions."""
        return next((p for p in self.phrases if index in p.words or index in p.links), None)

    def role(self, index: int) -> Role:
        """What the word's phrase tells."""
        phrase = self.phrase(index)
        return phrase.role if phrase else Role.NONE

    def is_head(self, index: int) -> bool:
        """Whether the word names its phrase."""
        phrase = self.phrase(index)
        return phrase is not None and index in phrase.heads

    def brought_in(self, index: int) -> bool:
        """Whether a preposition other than "of" brings in the word's phrase."""
        phrase = self.phrase(index)
        return phrase is not None and any(self.words[i].tag == PREP for i in phrase.links)

    def heads(self, *roles: Role) -> list[int]:
        """The words that name the phrases of these roles, in order."""
        return [head for phrase in self.phrases if phrase.role in roles for head in phrase.heads]

    def tells(self, index: int) -> bool:
        """Whether the word tells something itself."""
        return self.words[index].tag in CONTENT

    def text(self, indices: Iterable[int]) -> str:
        """These words as written, with those between that tell nothing, without punctuation around them."""
        shown = sorted(indices)
        for i in range(shown[0], shown[-1]) if shown else ():
            if i not in shown and not self.tells(i):
                shown.append(i)
        return " ".join(self.words[i].text.strip(".,;:!?") for i in sorted(shown))


def parse(words: Sequence[str]) -> Sentence:
    """Tag and divide a sentence."""
    tags = tagged(words)
    return Sentence(tags, tuple(phrases(tags)))


@dataclass(frozen=True)
class Side:
    """The changed words of one role in one sentence."""

    sentence: Sentence
    indices: tuple[int, ...]

    @property
    def told(self) -> list[int]:
        return [i for i in self.indices if self.sentence.tells(i)]

    @property
    def heads(self) -> list[int]:
        """The things named, those that "of" brings in included."""
        return [i for i in self.told if self.sentence.is_head(i)]

    @property
    def named(self) -> list[str]:
        """The things named, in their base form."""
        return [self.sentence.words[i].base for i in self.heads]

    @property
    def words(self) -> list[Word]:
        return [self.sentence.words[i] for i in self.told]

    def bases(self, tags: tuple[str, ...]) -> list[str]:
        return [w.base for w in self.words if w.tag in tags]

    @property
    def named_sort(self) -> bool:
        """Whether one of the words and the noun behind it are one noun: "a polar bear"; colours do not count."""
        words = self.sentence.words
        pairs = [(words[i], words[i + 1]) for i in self.told if i + 1 < len(words) and words[i].entry.kind != "colour"]
        return any(a.tag in (ADJ, NOUN) and b.tag == NOUN and pair_kind(a.bare, b.bare) == "animal" for a, b in pairs)

    @property
    def lacks(self) -> bool:
        """Whether the words say that something is not there."""
        return any(self.sentence.words[i].bare == "without" for i in self.indices)

    @property
    def of_food(self) -> bool:
        """Whether the words stand in phrases on food."""
        heads = [h for i in self.told for h in self.sentence.phrase(i).heads]
        return all(self.sentence.words[h].entry.kind == "food" for h in heads if h not in self.told)

    @property
    def in_name(self) -> bool:
        """Whether one of the words and a noun behind it are a name."""
        words = self.sentence.words
        follower = {i: words[i + 1] for i in self.told if i + 1 < len(words) and words[i].tag == NOUN}
        return any(words[i].capital and next_.capital and next_.tag == NOUN for i, next_ in follower.items())

    def of_sky(self, other: "Side") -> bool:
        """Whether the words stand in a phrase on the sky."""
        phrases_ = [s.sentence.phrase(i) for s in (self, other) for i in s.told]
        sides = [s for s in (self, other) for _ in s.told]
        return all(
            p and any(s.sentence.words[h].base == "sky" for h in p.heads) for p, s in zip(phrases_, sides, strict=True)
        )

    @property
    def text(self) -> str:
        shown = self.indices if self.told or self.lacks else ()
        return self.sentence.text(shown)
