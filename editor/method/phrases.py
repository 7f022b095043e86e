"""What a changed word is in its sentence, as far as English function words tell. Plain text work, no torch."""

import string
from collections.abc import Sequence
from itertools import pairwise

DETERMINERS = frozenset("a an the this these those his her its their my your our some two three".split())
PREPOSITIONS = frozenset(
    "in on at by with without to into onto from over under near behind beside through across along around between "
    "among against inside outside above below as like during".split()
)
CLAUSE_WORDS = frozenset("is are was were be has have and or while who which that of".split())
"""Words that end a phrase and bring in none: verbs, conjunctions, and "of"."""
BEING = frozenset("is are was were be".split())
LOOK_WORDS = frozenset("style sketch painting drawing watercolor watercolour cartoon anime".split())
TIME_WORDS = frozenset(
    "night day dawn dusk noon sunset sunrise morning evening afternoon spring summer autumn winter".split()
)
NOUNS_IN_ING = frozenset("painting drawing building morning evening spring string king ring ceiling wedding".split())
NUMBERS = frozenset(("two", "three"))


def bare(word: str) -> str:
    """The word without case and outer punctuation, or the word itself when nothing else is left."""
    return word.strip(string.punctuation).casefold() or word


def main_thing(words: Sequence[str], among: Sequence[int]) -> int | None:
    """The first of the indices `among` whose word names the main thing of its sentence, or None.

    That is a word that ends a noun phrase ("fox" in "a red fox in the snow", not "red") which no preposition brings in
    (not "snow") and which is no look or time. "of" is no such preposition: "a picture of a fox" is about the fox. Where
    the words are of another language nothing is found.
    """
    return next((i for i in among if _ends_phrase(words, i) and _role(words, i) == "main"), None)


def new_setting(words: Sequence[str], new: Sequence[int]) -> bool:
    """Whether one of the words with the indices `new` is a noun that a preposition brings in.

    Mostly that says where or when ("snow" in "a car in the snow"); it may also be a thing beside the main one ("hat"
    in "a man with a hat").
    """
    return any(_ends_phrase(words, i) and _preposition(words, i) is not None for i in new)


def names_place(words: Sequence[str], among: Sequence[int], timed: bool = False) -> bool:
    """Whether the words with the indices `among` name a place: no look, no other thing, and a time only if `timed`."""
    roles = {_role(words, i) for i in content(words, among)}
    return bool(roles) and roles <= {"place", *(("time",) if timed else ())}


def names_setting(words: Sequence[str], among: Sequence[int]) -> bool:
    """Whether the words with the indices `among` name a place, a time or a look, and nothing besides.

    A quality of it alone ("blue" in "in a blue dress") is none.
    """
    named = content(words, among)
    return {_role(words, i) for i in named} <= {"place", "time", "look"} and any(_ends_phrase(words, i) for i in named)


def brings_shape(words: Sequence[str], among: Sequence[int]) -> bool:
    """Whether one of the words with the indices `among` asks for another shape.

    That is a noun of a thing or a place, not of a look or a time; what is being done ("running"); how many there are;
    and where something is ("under", "without").
    """
    return any(_is_shape(words, i) for i in among)


def content(words: Sequence[str], among: Sequence[int]) -> list[int]:
    """Those of the indices `among` whose words are no mere function words."""
    return [i for i in among if not _is_function(bare(words[i]))]


def _is_shape(words: Sequence[str], index: int) -> bool:
    word = bare(words[index])
    if word in NUMBERS:
        return True
    if _is_participle(word):
        return index == 0 or bare(words[index - 1]) not in DETERMINERS  # "a shining car" has a quality
    if word in PREPOSITIONS:
        return index + 1 < len(words) and _role(words, index + 1) not in ("look", "time")
    return _ends_phrase(words, index) and _role(words, index) not in ("look", "time")


def _role(words: Sequence[str], index: int) -> str:
    """What the phrase of the word tells: the "main" thing, one "beside" it, a "place", a "time" or a "look"."""
    head = next((i for i in range(index, len(words)) if _ends_phrase(words, i)), index)
    begin = _preposition(words, index)
    if bare(words[head]) in LOOK_WORDS or _follows_style_of(words, head):
        return "look"
    if bare(words[head]) in TIME_WORDS:
        return "time"
    if begin is None:
        return "main"
    preposition, determined = bare(words[begin]), bare(words[begin + 1]) in DETERMINERS
    if preposition in ("as", "like"):
        return "look"
    if preposition == "during" or (preposition == "at" and not determined):
        return "time"
    return "beside" if preposition in ("with", "without") else "place"


def _follows_style_of(words: Sequence[str], index: int) -> bool:
    """Whether "style of" stands before the word ("in the style of van gogh")."""
    return any(bare(a) == "style" and bare(b) == "of" for a, b in pairwise(words[:index]))


def _ends_phrase(words: Sequence[str], index: int) -> bool:
    """Whether the word is a noun by its place: the sentence, the clause or the phrase ends behind it."""
    if _is_function(bare(words[index])) or _is_participle(bare(words[index])):
        return False
    if index and bare(words[index - 1]) in BEING:  # "the car is red" has a quality
        return False
    if index + 1 == len(words) or words[index][-1] in string.punctuation:
        return True
    follower = bare(words[index + 1])
    return follower != "of" and (_is_function(follower) or _is_participle(follower))


def _preposition(words: Sequence[str], index: int) -> int | None:
    """Where the preposition stands that brings in the word's phrase, or None."""
    for i in reversed(range(index)):
        before = bare(words[i])
        if words[i][-1] in string.punctuation or before in CLAUSE_WORDS or _is_participle(before):
            return None
        if before in PREPOSITIONS:
            return i
    return None


def _is_function(word: str) -> bool:
    return word in DETERMINERS or word in PREPOSITIONS or word in CLAUSE_WORDS


def _is_participle(word: str) -> bool:
    return word.endswith("ing") and len(word) > 4 and word not in PREPOSITIONS and word not in NOUNS_IN_ING
