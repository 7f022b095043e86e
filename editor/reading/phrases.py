"""The phrases of a tagged sentence.

No grammar of English: phrases are runs of articles, qualities and nouns, each under the preposition or verb before it.
"""

from collections.abc import Sequence

from editor.reading.roles import MADE, PICTURES, RELATIONS, STATUES, THINGS, Context, Phrase, Role
from editor.reading.tags import (
    ADJ,
    ADV,
    BE,
    CLAUSE,
    COMPOUNDS,
    CONJ,
    DET,
    ED,
    ING,
    MARK,
    NOUN,
    NUM,
    OF,
    PREP,
    PRON,
    VERB,
    Word,
)


class _Parser(Context):
    """Reads the words from left to right."""

    def read(self) -> list[Phrase]:
        i = 0
        while i < len(self.words):
            i = self._step(i)
        if self.links:
            self._loose()
        return self.phrases

    def _step(self, i: int) -> int:
        """Read what begins at word i; return where the next begins."""
        word = self.words[i]
        follower = self.words[i + 1].tag if i + 1 < len(self.words) else ""
        if word.tag in (DET, NUM, ADJ, NOUN, PRON) or (word.tag == ADV and follower == ADJ and not word.mark):
            return self._nominal(i)
        if word.tag in (PREP, OF):
            self.links.append(i)
        elif word.tag in (VERB, ING, ED):
            self._action(i)
        elif word.tag == ADV:
            self._add(Phrase(Role.ACTION, [i]))
        elif word.tag == CONJ:
            self.joined = True
            self._add(Phrase(Role.NONE, [i]))
        else:
            if word.tag in (CLAUSE, MARK):
                self._loose()
            if word.tag == BE:
                self.verb = word
            self._add(Phrase(Role.NONE, [i]))
        self._pause(i)
        return i + 1

    def _add(self, phrase: Phrase) -> None:
        self.phrases.append(phrase)

    def _pause(self, i: int) -> None:
        """What punctuation behind word i ends."""
        if self.words[i].mark:
            self._loose()
            self.tail, self.joined, self.verb = True, False, None
            if self.words[i].mark in ".;!?":
                self.acted = False

    def _loose(self) -> None:
        """Prepositions that no phrase follows go with the action: "climbing up", "with surfboards on top"."""
        if self.links:
            self._add(Phrase(Role.ACTION, list(self.links)))
            self.links = []

    def _action(self, i: int) -> None:
        word = self.words[i]
        if self.links and word.tag == ING:  # "without wearing"
            self._add(Phrase(Role.NONE, list(self.links)))
            self.links = []
        self._loose()
        self.verb, self.acted, self.tail, self.joined = word, True, False, False
        self._add(Phrase(Role.QUALITY if self._tells_material(i) else Role.ACTION, [i]))

    def _tells_material(self, i: int) -> bool:
        """Whether the word is "made" of "made of glass"."""
        word = self.words[i]
        following = self.words[i + 1].bare if i + 1 < len(self.words) else ""
        return word.tag == ED and word.entry.base in MADE and following in ("of", "from", "out", "in", "with")

    def _nominal(self, i: int) -> int:
        """A run of articles, numbers, qualities and nouns that begins at word i."""
        end = self._end_of_run(i)
        run = list(range(i, end))
        nouns = [j for j in run if self.words[j].tag in (NOUN, PRON)]
        heads = [nouns[-1]] if nouns else []
        if (
            len(nouns) > 1 and self.words[nouns[-1]].base in STATUES and not self._of_at(end)
        ):  # "a cat sculpture" shows a cat
            heads = [nouns[-2]]
        if heads and self._is_relation(heads[0]):
            self.links += run
            return end
        picture = bool(heads) and self._is_picture(heads[0], end)
        statue = picture and self.words[heads[0]].base in STATUES
        role = Role.QUALITY if statue else Role.LOOK if picture else self.role(run, heads)
        phrase = Phrase(role, run, heads, self.links)
        self.links = []
        self._add(phrase)
        if not picture:
            self.verb, self.joined = None, False
        self._pause(end - 1)
        return end

    def _end_of_run(self, i: int) -> int:
        j, noun = i, False
        while j < len(self.words):
            word = self.words[j]
            if word.tag in (NOUN, PRON):
                noun = True
            elif word.tag in (ADJ, NUM, DET):
                inner = word.bare[0].isdigit() or word.bare.endswith(COMPOUNDS)
                if noun and not (inner and self._noun_at(j + 1)):
                    break
            elif word.tag == ADV and not noun and j + 1 < len(self.words) and self.words[j + 1].tag == ADJ:
                pass
            elif word.tag == CONJ:
                inside = not noun and j > i and j + 1 < len(self.words) and self.words[j + 1].tag == ADJ
                if not inside:
                    break
            else:
                break
            j += 1
            if word.mark and not (
                word.mark == ","
                and word.tag == ADJ
                and not noun
                and j < len(self.words)
                and self.words[j].tag in (ADJ, NOUN)
            ):
                break
        return max(j, i + 1)

    def _of_at(self, i: int) -> bool:
        return i < len(self.words) and self.words[i].tag == OF

    def _noun_at(self, i: int) -> bool:
        return i < len(self.words) and self.words[i].tag == NOUN and not self.words[i - 1].mark

    def _is_relation(self, head: int) -> bool:
        """Whether the noun is part of a preposition: "in front of", "on top of", "on the back of"."""
        after = self.words[head + 1].tag if head + 1 < len(self.words) and not self.words[head].mark else ""
        return bool(self.links) and self.words[head].bare in RELATIONS and after == OF

    def _is_picture(self, head: int, end: int) -> bool:
        """Whether the noun names the picture itself, before "of"."""
        if end == len(self.words) or self.words[end].tag != OF or self.words[head].mark or self.links:
            return False
        word, before = self.words[head], [p for p in self.phrases if p.role in THINGS]
        if not (word.base in PICTURES | STATUES or word.entry.kind == "look"):
            return False
        if before and self.joined and len(before) == 1 == len(self.phrases) - 1:  # "pen and ink sketch of a cat"
            before[0].role = Role.LOOK
            return True
        return not before


def phrases(words: Sequence[Word]) -> list[Phrase]:
    """The phrases of a tagged sentence, in order; every word but prepositions is in exactly one of them."""
    return _Parser(words).read()
