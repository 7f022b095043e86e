"""Words on the page: those that differ, marked; those the model will not read; and those the built-in model knows.

The only module of the page that knows the demo world.
"""

import re
from html import escape
from typing import Any

from editor.demo import vocabulary
from editor.reading import Reading

TOKEN_BUDGET = 75
"""Tokens of a prompt that a CLIP text encoder reads, without its begin and end marks."""
BUILT_IN = "demo"
NAMES = {"subjects": "Things", "colors": "Colours", "places": "Places", "looks": "Looks"}


def marked(reading: Reading) -> str:
    """The target against the source as HTML: struck and inserted words, all escaped, readable without colour."""
    parts = []
    for piece in reading.pieces:
        if piece.kept:
            parts.append(escape(piece.target))
            continue
        if piece.source:
            parts.append(f"<del>{escape(piece.source)}</del>")
        if piece.target:
            parts.append(f"<ins>{escape(piece.target)}</ins>")
    return " ".join(parts)


def estimated_tokens(prompt: str) -> int:
    """About how many tokens a CLIP tokenizer makes of a prompt: common words are one, long or odd ones several.

    Counted on the safe side; the engine counts exactly and reports what it cut.
    """
    return sum(1 + max(0, len(word) - 9) // 4 for word in re.findall(r"\w+|[^\w\s]", prompt))


def beyond_budget(prompt: str) -> str:
    """The words at the end of a prompt that will probably not be read; empty when all fit."""
    words = prompt.split()
    for count in range(len(words), 0, -1):
        if estimated_tokens(" ".join(words[:count])) <= TOKEN_BUDGET:
            return " ".join(words[count:])
    return ""


def unknown_words(prompt: str, model: str) -> list[str]:
    """Words the built-in model has never seen; of other models nothing is known, so nothing is said."""
    return vocabulary.unknown_words(prompt) if model == BUILT_IN else []


def chips() -> dict[str, Any]:
    """The value of the page's word chips."""
    groups = [{"name": NAMES.get(kind, kind), "words": list(words)} for kind, words in vocabulary.GROUPS.items()]
    return {"groups": groups}
