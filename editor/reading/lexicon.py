"""What English words can be, from a table made of WordNet 3.1 (`words.txt.gz`; `build_table.py` has the rule).

WordNet has no function words and no inflected forms: the former are listed in `tags.py`, the latter are cut back to
base forms here by WordNet's own rules of detachment.
"""

import gzip
import string
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).with_name("words.txt.gz")

ENDINGS = (
    *(
        ("s", "n", ""),
        ("ses", "n", "s"),
        ("xes", "n", "x"),
        ("zes", "n", "z"),
        ("ches", "n", "ch"),
        ("shes", "n", "sh"),
    ),
    *(("men", "n", "man"), ("ies", "n", "y"), ("ves", "n", "f"), ("ves", "n", "fe")),
    *(("s", "v", ""), ("ies", "v", "y"), ("es", "v", "e"), ("es", "v", ""), ("ed", "v", "e"), ("ed", "v", "")),
    *(("ied", "v", "y"), ("ing", "v", "e"), ("ing", "v", ""), ("er", "a", ""), ("est", "a", ""), ("er", "a", "e")),
    ("est", "a", "e"),
)
"""Ending, part of speech, and what takes its place in the base form (WordNet's morphy, and -ves)."""

KINDS = {
    "look": (
        "2d 3d 4k 8k acrylic aesthetic animation anime bokeh cartoon cgi charcoal cinematic claymation clip "
        "close-up closeup collage colors colours comic crayon cubism cyberpunk disney drawing effect engraving "
        "expressionism film filter footage fresco ghibli gif graphic grayscale greyscale hdr illustration image "
        "impressionism inspired lithograph manga minecraft monochrome mosaic motion movie oil painting palette "
        "pencil photo photograph picture pixar pixel pointillism portrait quality render rendering resolution "
        "retro scene sepia shot sketch snapshot steampunk style styled surrealism themed tone toned tones ukiyo-e "
        "vector video view vintage voxel wallpaper watercolor watercolour"
    ),
    "time": (
        "aurora dawn day daylight daytime dusk evening fog foggy haze lighting lit midnight mist "
        "moonlight morning night nighttime noon rain skies sky snowfall snowstorm storm sunlight sunrise sunset "
        "thunderstorm weather"
    ),
    "material": (
        "cardboard ceramic chrome clay crochet denim felt figurine glass jelly lego metal origami plasticine "
        "porcelain robot sculpture statue statuette wood yarn"
    ),
    "thing": ("clouds lightning lights"),
    "clothing": ("backpack cape costume crown glasses helmet hoodie kimono mask necklace scarf suit sunglasses tuxedo"),
    "colour": ("beige crimson cyan gold golden indigo magenta maroon orange scarlet silver teal turquoise"),
    "food": ("cake coffee orange-juice pie pizza salmon sandwich soup steak"),
    "place": ("background countryside indoors outdoors racetrack rooftop runway seaside space underwater"),
}
"""Kinds of nouns where the table has none, or one that captions seldom mean."""


@dataclass(frozen=True)
class Entry:
    """What a word can be: how often each part of speech was met (0 to 9; n, v, a, r), its kind as a noun, its base.

    `shape`: as an adjective it tells of size or shape. `ending`: "s", "ed" or "ing" where that was cut off, or "irr"
    for an irregular form.
    """

    word: str
    parts: dict[str, int]
    kind: str = ""
    shape: bool = False
    base: str = ""
    ending: str = ""

    def has(self, part: str) -> bool:
        """Whether it can be this part of speech."""
        return part in self.parts


def bare(word: str) -> str:
    """The word without case and outer punctuation, or the word itself when nothing else is left."""
    return word.strip(string.punctuation + "“”‘’–—").casefold() or word


@lru_cache(maxsize=4096)
def look_up(word: str) -> Entry:
    """What the bare `word` can be; an unknown word has no parts."""
    parts: dict[str, int] = {}
    kind, shape, base, ending = "", False, word, ""
    for form, part, cut in _forms(word):
        line = _table().get(form)
        if line is None or line.startswith("="):
            continue
        counts, found_kind, *more = line.split("\t")
        for letter, count in zip(counts[::2], counts[1::2], strict=True):
            if part not in ("", letter):
                continue
            if letter == "n":
                kind = kind or found_kind
            if letter == "a" and more:
                shape = True
            if cut and letter not in parts:
                base, ending = (form, cut) if not ending or letter == "v" else (base, ending)
            parts[letter] = max(parts.get(letter, 0), int(count))
    listed = _listed().get(word) or _listed().get(base)
    if listed:
        parts.setdefault("n", 0)
    return Entry(word, parts, listed or kind, shape, base, ending)


def pair_kind(first: str, second: str) -> str:
    """The kind of two bare words that are one noun together, such as "teddy bear"; empty where they are none."""
    line = _table().get(f"{first} {second}") or _table().get(f"{first} {look_up(second).base}") or ""
    return line.split("\t")[1] if line else ""


def _forms(word: str) -> list[tuple[str, str, str]]:
    """The word and its possible base forms as (form, part or "" for any, what was cut off)."""
    forms = [(word, "", "")]
    line = _table().get(word, "")
    irregular = _irregular().get(word)
    if irregular:
        cut = "ing" if word.endswith("ing") else "irr"
        forms += [(base, part, cut) for part, base in irregular]
    elif not line.startswith("="):
        for ending, part, replacement in ENDINGS:
            stem = word.removesuffix(ending) + replacement
            if word.endswith(ending) and len(stem) > 1:
                cut = (
                    "s" if ending.endswith("s") else "ing" if ending == "ing" else "ed" if ending[-1] == "d" else ending
                )
                forms.append((stem, part, cut))
                if ending in ("ed", "ing") and len(stem) > 3 and stem[-1] == stem[-2]:  # "running"
                    forms.append((stem[:-1], part, cut))
    return forms


@lru_cache(maxsize=1)
def _lines() -> list[str]:
    return gzip.decompress(FILE.read_bytes()).decode().splitlines()


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    """Word -> the rest of its line."""
    return {word: rest for word, _, rest in (line.partition("\t") for line in _lines()) if not rest.startswith("=")}


@lru_cache(maxsize=1)
def _irregular() -> dict[str, list[tuple[str, str]]]:
    """Irregular form -> (part, base form)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in _lines():
        if "\t=" in line:
            form, part, base = line.split("\t")
            found.setdefault(form, []).append((part[1:], base))
    return found


@lru_cache(maxsize=1)
def _listed() -> dict[str, str]:
    return {word: kind for kind, words in KINDS.items() for word in words.split()}
