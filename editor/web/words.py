"""The sentences as the page shows them: differing words marked, and words that the model will probably not read."""

import re
from html import escape

from editor.reading import Reading

TOKEN_BUDGET = 75
"""Tokens of a prompt that a CLIP text encoder reads, without its begin and end marks."""


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
