"""Which class each word has in its sentence: function words by list, the rest by the table and by its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

from editor.reading.lexicon import Entry, bare, look_up, pair_kind

DET, NUM, ADJ, NOUN, VERB, ING, ED, BE, PREP, CONJ, CLAUSE, ADV, PRON, TO, OF, MARK = (
    *("det", "num", "adj", "noun", "verb", "ing", "ed", "be", "prep", "conj", "clause", "adv", "pron", "to", "of"),
    "mark",
)

LISTED = {
    DET: "a an the this these those his her its their my your our some any no each every another several many few all "
    "both other various numerous multiple",
    NUM: "one two three four five six seven eight nine ten dozen",
    BE: "is are was were be been being am has have had will can 's isn't aren't",
    PREP: "in on at by with without to into onto from over under near behind beside beneath below above through across "
    "along around round between among amid against inside outside toward towards during within underneath atop upon "
    "as like down up off past beyond throughout next before after until for about amidst alongside via",
    CONJ: "and or & plus but",
    CLAUSE: "while who which that when where as-if whose",
    PRON: "it he she they them him itself himself herself themselves someone somebody something nothing everyone there "
    "each-other me you we us i",
    ADV: "very slowly quickly together not just still then out away back forward sideways upside apart alone too so "
    "also now here instead only almost again",
    OF: "of",
}
"""Class -> the words that belong to it wherever they stand."""
CLASS_OF = {word: name for name, words in LISTED.items() for word in words.split()}
CONTENT = frozenset((ADJ, NOUN, VERB, ING, ED, NUM, ADV))
"""Classes of words that tell something themselves; of pronouns, articles and prepositions the phrase tells."""
NOUNS_IN_ING = frozenset(
    "painting drawing building morning evening spring string king ring ceiling wedding lighting clothing thing wing "
    "swing sting railing awning sibling pudding earring duckling rendering lightning viking".split()
)


COMPOUNDS = ("colored", "coloured", "shaped", "toned", "lapsed", "inspired", "themed")
"""Endings of words that make a quality of the noun before them."""


@dataclass(frozen=True)
class Word:
    """A word of a sentence: as written, bare, its class there, what it can be, and whether a mark ends it."""

    text: str
    bare: str
    tag: str
    entry: Entry
    mark: str
    """The punctuation behind it, or nothing."""

    @property
    def base(self) -> str:
        """The base form: "runs", "running" and "ran" are one word."""
        return self.entry.base if self.tag in (VERB, ING, ED) or self.entry.ending in ("s", "irr") else self.bare

    @property
    def capital(self) -> bool:
        """Whether it is written like a name."""
        return self.text.lstrip("“‘\"'(")[:1].isupper()


def tagged(sentence: Sequence[str]) -> tuple[Word, ...]:
    """The words of a sentence, each with its class."""
    entries = [look_up(bare(text)) for text in sentence]
    tags: list[str] = []
    for i in range(len(sentence)):
        tags.append(_tag(sentence, entries, tags, i))
    return tuple(
        Word(text, entry.word, tag, entry, _mark(text, tag))
        for text, entry, tag in zip(sentence, entries, tags, strict=True)
    )


def _mark(text: str, tag: str) -> str:
    if tag == MARK:
        return text
    return text[-1] if text[-1] in ",.;:!?" else ""


def _tag(sentence: Sequence[str], entries: Sequence[Entry], before: Sequence[str], i: int) -> str:
    """The class of word i, where the classes of the words before it are known."""
    word, entry = entries[i].word, entries[i]
    ended = i > 0 and sentence[i - 1][-1] in ",.;:!?"
    last = "" if i == 0 or ended else before[-1]
    if not any(c.isalnum() for c in word) and word not in CLASS_OF:
        return MARK
    if "close" in (word, entries[i - 1].word if i else "") and [e.word for e in entries[i - 1 : i + 2]].count("up"):
        return ADJ  # "a close up video"
    if word == "out" and i + 1 < len(entries) and entries[i + 1].word == "of":
        return PREP
    if word == "to" and i + 1 < len(entries) and _verb_only(entries[i + 1]):
        return TO
    if last == TO and entry.has("v"):
        return VERB
    if word == "that" and (last not in (NOUN, PRON)):
        return DET
    if word in CLASS_OF:
        return CLASS_OF[word]
    if word[0].isdigit():
        return NUM if word.isdigit() else ADJ if _noun_follows(sentence, entries, i) else NOUN
    if word.endswith("ing") and len(word) > 4 and (entry.ending == "ing" or not entry.parts):
        return _ing(sentence, entries, before, i, last)
    if (entry.ending in ("ed", "irr") and entry.has("v")) or (
        word.endswith("ed") and not entry.parts and len(word) > 4
    ):
        return _past(sentence, entries, before, i, last)
    if word.endswith("ly") and entry.has("r") and not entry.has("a"):
        return ADV
    if _is_finite(sentence, entries, before, i, last):
        return VERB
    return _nominal(sentence, entries, i, last)


def _nominal(sentence: Sequence[str], entries: Sequence[Entry], i: int, last: str) -> str:
    """Noun, adjective or adverb."""
    entry = entries[i]
    if entry.has("a"):
        follows = _noun_follows(sentence, entries, i)
        if not entry.has("n") or (follows and entry.parts["a"] + 1 >= entry.parts["n"]):
            return ADJ
        if last in (BE, CONJ) and entry.parts["a"] >= entry.parts["n"]:
            return ADJ
        if entry.kind == "colour" and (follows or last in ("", ADJ, CONJ, BE)) and not (last == "" and i == 0):
            return ADJ
    if not entry.has("n") and entry.has("r"):
        return ADV
    if "-" in entry.word and not entry.parts and not sentence[i][:1].isupper() and _noun_follows(sentence, entries, i):
        return ADJ
    if (
        not entry.parts
        and _noun_follows(sentence, entries, i)
        and entry.word.endswith(("y", "ic", "ish", "ful", "less", "en"))
    ):
        return ADJ
    return NOUN


def _ing(sentence: Sequence[str], entries: Sequence[Entry], before: Sequence[str], i: int, last: str) -> str:
    """A word in -ing: what is being done, a quality ("a shining car") or a noun ("a painting")."""
    word = entries[i].word
    follows = _noun_follows(sentence, entries, i)
    next_class = _closed_class(entries, i + 1) if not _ends(sentence, i) else ""
    if follows and pair_kind(word, entries[i + 1].word) and last not in (BE, PRON):  # "a swimming pool"
        return NOUN
    if word in NOUNS_IN_ING and next_class not in (DET, NUM) and last not in (BE, PRON):
        return NOUN
    if last in (DET, ADJ, NUM):
        return ADJ if follows else NOUN
    if last in (PREP, OF) and entries[i].has("n") and not next_class:
        return ADJ if follows else NOUN
    return ING


def _past(sentence: Sequence[str], entries: Sequence[Entry], before: Sequence[str], i: int, last: str) -> str:
    """A past form: finite or participle behind its noun, a quality before it ("a flooded road")."""
    entry, follows = entries[i], _noun_follows(sentence, entries, i)
    if (
        entry.has("n")
        and entry.ending == "irr"
        and entry.parts["n"] >= entry.parts["v"]
        and last in (DET, ADJ, NUM, PREP)
    ):
        return _nominal(sentence, entries, i, last)
    if last in (DET, ADJ, ADV, NUM, PREP, OF, CONJ, "") and follows:
        return ADJ
    if last in (DET, ADJ, NUM):
        return NOUN if entry.has("n") else ADJ
    if entry.kind == "look" and not follows:  # "sepia toned"
        return NOUN
    if last == NOUN and follows and entry.word.endswith(COMPOUNDS):  # "a rainbow colored squirrel"
        return ADJ
    return ED


def _is_finite(sentence: Sequence[str], entries: Sequence[Entry], before: Sequence[str], i: int, last: str) -> bool:
    """Whether the word is the finite verb of its clause: behind a subject, where none came before."""
    entry = entries[i]
    if not entry.has("v") and entry.parts:
        return False
    if last not in (NOUN, PRON, ADV, CLAUSE) or (last == CLAUSE and not entry.has("v")):
        return False
    if last == NOUN and pair_kind(entries[i - 1].word, entry.word):  # "teddy bears"
        return False
    clause = _clause(sentence, before)
    if any(tag in (VERB, BE) for tag in clause):
        return False
    behind = PREP in clause  # "a woman with long hair smiles"
    nouns = [entries[j] for j in range(i) if before[j] in (NOUN, PRON)][-1:]
    if behind or ING in clause or ED in clause:  # the subject may stand before "wearing gloves"
        nouns += [entries[j] for j in range(i - len(clause), i) if before[j] in (NOUN, PRON)][:1]
    plurals = {_is_plural(noun) or CONJ in clause for noun in nouns}
    ends_in_s = entry.ending == "s" or entry.word.endswith("s")
    form_fits = (False in plurals and ends_in_s) or (True in plurals and entry.ending in ("", "irr"))
    plural = True in plurals
    if not form_fits or (_ends(sentence, i) and not entry.has("v")):
        return False
    next_class = "" if _ends(sentence, i) else _closed_class(entries, i + 1)
    verb, noun = entry.parts.get("v", -1), entry.parts.get("n", -1)
    following = None if next_class or _ends(sentence, i) else entries[i + 1]
    if entry.has("n") and following and following.parts.get("v", -1) > following.parts.get("n", -1):
        return False  # "rubber ducks swim"
    if behind and not next_class and not _ends(sentence, i):
        return False
    if next_class in (DET, NUM, PRON):
        return not behind or verb >= noun
    if not entry.parts:
        return next_class == PREP and plural and not behind
    if next_class in (PREP, TO, ADV):
        return verb + (0 if behind else 3) >= noun
    return verb >= noun if _ends(sentence, i) else verb > noun


def _clause(sentence: Sequence[str], before: Sequence[str]) -> list[str]:
    """Classes of the words since the clause began: the sentence, or a conjunction such as "while"."""
    begin = 0
    for j, tag in enumerate(before):
        if tag == CLAUSE or (sentence[j][-1] in ".;!?"):
            begin = j + 1
    return list(before[begin:])


def _is_plural(entry: Entry) -> bool:
    if entry.word in ("people", "they", "sheep", "fish", "deer", "who", "them", "police", "cattle"):
        return True
    return entry.has("n") and (entry.ending == "s" or entry.word in ("men", "women", "children", "geese", "mice"))


def _verb_only(entry: Entry) -> bool:
    return entry.has("v") and entry.parts["v"] > entry.parts.get("n", -1) and not entry.ending


def _closed_class(entries: Sequence[Entry], i: int) -> str:
    return CLASS_OF.get(entries[i].word, "") if i < len(entries) else ""


def _ends(sentence: Sequence[str], i: int) -> bool:
    """Whether a phrase certainly ends behind word i."""
    return i + 1 == len(sentence) or sentence[i][-1] in ".;:!?" or not any(c.isalnum() for c in sentence[i + 1])


def _noun_follows(sentence: Sequence[str], entries: Sequence[Entry], i: int) -> bool:
    """Whether a noun phrase goes on behind word i: "red, shiny car", "black and white cat", "flooded road"."""
    j = i + 1
    if _ends(sentence, i):
        return False
    if sentence[i][-1] == ",":
        return entries[i].has("a") and j < len(entries) and entries[j].has("a") and _noun_follows(sentence, entries, j)
    if entries[j].word in ("and", "or") and j + 1 < len(entries):
        return entries[j + 1].has("a") and _noun_follows(sentence, entries, j + 1)
    if entries[j].word in CLASS_OF:
        return False
    entry = entries[j]
    if entry.ending == "ing" and not entry.has("n") and not entry.has("a"):
        return False
    return entry.has("n") or entry.has("a") or not entry.parts or entry.ending == "ed"
