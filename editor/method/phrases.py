"""What a changed word is in its sentence, as far as English function words tell. Plain text work, no torch."""

import string
from collections.abc import Sequence

DETERMINERS = frozenset("a an the this these those his her its their my your our some two three".split())
PREPOSITIONS = frozenset(
    "in on at by with without to into onto from over under near behind beside through across along around between "
    "among against inside outside above below as like during".split()
)
LOOKS, TIMES = frozenset(("as", "like")), frozenset(("at", "during"))
"""Prepositions that bring in a look ("as a sketch") or a time ("at night"), which show on the main thing too."""
COMPANIONS = frozenset(("with", "without"))
"""Prepositions that bring in a thing beside the main one ("a man with a hat")."""
CLAUSE_WORDS = frozenset("is are was were be has have and or while who which that of".split())
"""Words that end a phrase and bring in none: verbs, conjunctions, and "of"."""


def bare(word: str) -> str:
    """The word without case and outer punctuation, or the word itself when nothing else is left."""
    return word.strip(string.punctuation).casefold() or word


def main_thing(words: Sequence[str], among: Sequence[int]) -> int | None:
    """The first of the indices `among` whose word names the main thing of its sentence, or None.

    That is a word that ends a noun phrase ("fox" in "a red fox in the snow", not "red") which no preposition brings in
    (not "snow"). "of" is no such preposition: "a picture of a fox" is about the fox. Where the words are of another
    language nothing is found.
    """
    return next((i for i in among if _ends_phrase(words, i) and _preposition(words, i) is None), None)


def new_setting(words: Sequence[str], new: Sequence[int]) -> bool:
    """Whether one of the words with the indices `new` is a noun that a preposition brings in.

    Mostly that says where or when ("snow" in "a car in the snow"); it may also be a thing beside the main one ("hat"
    in "a man with a hat").
    """
    return any(_ends_phrase(words, i) and _preposition(words, i) for i in new)


def names_place(words: Sequence[str], among: Sequence[int], timed: bool = False) -> bool:
    """Whether the words with the indices `among` name a place: no look, no main thing, and a time only if `timed`."""
    named = [i for i in among if not _is_function(bare(words[i]))]
    others = {None, *LOOKS, *(() if timed else TIMES)}
    return bool(named) and not {_preposition(words, i) for i in named} & others


def brings_shape(words: Sequence[str], among: Sequence[int]) -> bool:
    """Whether one of the words with the indices `among` asks for another shape.

    That is a noun of a thing or a place, not of a look or a time, or what is being done ("running").
    """
    nouns = [i for i in among if _ends_phrase(words, i) and _preposition(words, i) not in LOOKS | TIMES]
    return bool(nouns) or any(_is_participle(bare(words[i])) for i in among)


def names_setting(words: Sequence[str], among: Sequence[int]) -> bool:
    """Whether the words with the indices `among` say in which place, at what time or in what look it happens, only."""
    named = [i for i in among if not _is_function(bare(words[i]))]
    return bool(named) and not {_preposition(words, i) for i in named} & {None, *COMPANIONS}


def _ends_phrase(words: Sequence[str], index: int) -> bool:
    """Whether the word is a noun by its place: the sentence, the clause or the phrase ends behind it."""
    if _is_function(bare(words[index])) or _is_participle(bare(words[index])):
        return False
    if index + 1 == len(words) or words[index][-1] in string.punctuation:
        return True
    follower = bare(words[index + 1])
    return follower != "of" and (_is_function(follower) or _is_participle(follower))


def _preposition(words: Sequence[str], index: int) -> str | None:
    """The preposition that brings in the word's phrase, or None."""
    for word in reversed(words[:index]):
        before = bare(word)
        if word[-1] in string.punctuation or before in CLAUSE_WORDS or _is_participle(before):
            return None
        if before in PREPOSITIONS:
            return before
    return None


def _is_function(word: str) -> bool:
    return word in DETERMINERS or word in PREPOSITIONS or word in CLAUSE_WORDS


def _is_participle(word: str) -> bool:
    return word.endswith("ing") and len(word) > 4
