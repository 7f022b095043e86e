"""Which words of two prompts differ, and what that means for the edit. Plain text work: no tokenizer, no torch.

The method aligns tokens in its own room; this is the preview of it that a person sees before running.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from html import escape

TOKEN_BUDGET = 75
"""Tokens of a prompt that a CLIP text encoder reads, without its begin and end marks."""

_LOOK = re.compile(
    r"^(as (a|an|if)\b|in the style\b|at (sunset|night|dawn|dusk)\b)"
    r"|\b(style|sketch|painting|drawing|watercolou?r|cartoon|anime)\b"
)
"""How sentences say a look, as far as English words tell."""


class Kind(StrEnum):
    """What an edit does, as far as the words tell."""

    SAME = "same"
    SWAP = "swap"
    ADDITION = "addition"
    LOOK = "look"
    REMOVAL = "removal"
    REWRITE = "rewrite"


@dataclass(frozen=True)
class Piece:
    """Words that stand together: kept, or `removed` from the source, or `added` in the target; one of both is empty."""

    source: str
    target: str

    @property
    def kept(self) -> bool:
        return _folded(self.source.split()) == _folded(self.target.split())


@dataclass(frozen=True)
class Comparison:
    """Two prompts aligned word by word."""

    kind: Kind
    pieces: tuple[Piece, ...]

    @property
    def meaning(self) -> str:
        """One or two sentences for a person."""
        if self.kind is Kind.SAME:
            return "Nothing changes: both sentences say the same."
        if self.kind is Kind.REWRITE:
            return "Most words differ, so the result will follow the clip only loosely. Keep the words that stay true."
        changes = ", ".join(_change(p) for p in self.pieces if not p.kept)
        return f"{_TITLES[self.kind]}: {changes}. {_CONSEQUENCES[self.kind]}"


_TITLES = {Kind.SWAP: "Swap", Kind.ADDITION: "Addition", Kind.LOOK: "Look", Kind.REMOVAL: "Removal"}
_CONSEQUENCES = {
    Kind.SWAP: "Position and motion stay.",
    Kind.ADDITION: "What the other words describe stays.",
    Kind.LOOK: "The whole picture changes; shapes and motion stay.",
    Kind.REMOVAL: "Saying what stands there instead works better.",
}


def _change(piece: Piece) -> str:
    if piece.source and piece.target:
        return f"“{piece.source}” becomes “{piece.target}”"
    return f"“{piece.target}” is new" if piece.target else f"“{piece.source}” goes"


def compare(source: str, target: str) -> Comparison:
    """Align two prompts; spacing, case and punctuation make no difference."""
    old, new = source.split(), target.split()
    pieces = []
    matcher = SequenceMatcher(None, _folded(old), _folded(new), autojunk=False)
    for tag, i, j, k, n in matcher.get_opcodes():
        if tag == "replace" and j - i == n - k:  # word by word, so that "red car" -> "blue bus" reads as two swaps
            pieces += [Piece(a, b) for a, b in zip(old[i:j], new[k:n], strict=True)]
        else:
            pieces.append(Piece(" ".join(old[i:j]), " ".join(new[k:n])))
    return Comparison(_kind(pieces), tuple(pieces))


def _kind(pieces: Sequence[Piece]) -> Kind:
    changed = [p for p in pieces if not p.kept]
    kept_words = sum(len(p.source.split()) for p in pieces if p.kept)
    changed_words = sum(max(len(p.source.split()), len(p.target.split())) for p in changed)
    if not changed:
        return Kind.SAME
    if changed_words > kept_words + 1:
        return Kind.REWRITE
    if all(not p.source for p in changed):
        looks = all(_LOOK.search(p.target.lower()) for p in changed)
        return Kind.LOOK if looks else Kind.ADDITION
    if all(not p.target for p in changed):
        return Kind.REMOVAL
    return Kind.SWAP


def _folded(words: Sequence[str]) -> list[str]:
    """Words as they are compared; a word that is only punctuation stays what it is."""
    return [re.sub(r"^\W+|\W+$", "", word).casefold() or word for word in words]


def marked(comparison: Comparison) -> str:
    """The comparison as HTML: struck and inserted words, readable without colour; everything is escaped."""
    parts = []
    for piece in comparison.pieces:
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
