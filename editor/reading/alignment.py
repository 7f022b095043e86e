"""Which words of two sentences stand for each other."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from editor.reading.lexicon import bare, look_up

ALIKE = 0.8
"""From this likeness of letters on, an unknown word counts as a misspelt one: "Detla", "Delta"."""

Pairs = Sequence[tuple[int, int]]


def align(source: Sequence[str], target: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (i, j) of equal words in order, as many as possible (longest common subsequence)."""
    a, b = [bare(w) for w in source], [bare(w) for w in target]
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # best[i][j]: the most pairs from a[i:], b[j:]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            best[i][j] = best[i + 1][j + 1] + 1 if a[i] == b[j] else max(best[i + 1][j], best[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def in_place(source: Sequence[str], target: Sequence[str], pairs: Pairs) -> bool:
    """Whether single words are exchanged: equally many, and those that stay stand at their old places.

    Differs from Prompt-to-Prompt, to which equal length is enough.
    """
    if len(source) != len(target):
        return False
    return sum(bare(a) == bare(b) for a, b in zip(source, target, strict=True)) >= len(pairs)


def gaps(sizes: tuple[int, int], pairs: Pairs) -> list[tuple[range, range]]:
    """The runs of words without a counterpart between the pairs, as (source indices, target indices)."""
    found, i, j = [], 0, 0
    for a, b in [*pairs, sizes]:
        found.append((range(i, a), range(j, b)))
        i, j = a + 1, b + 1
    return [gap for gap in found if gap[0] or gap[1]]


def respelt(source: Sequence[str], target: Sequence[str], pairs: Pairs) -> tuple[set[int], set[int]]:
    """Indices of words that differ in spelling alone: "time lapsed" and "time-lapsed", or a misspelt one put right."""
    ours: set[int] = set()
    theirs: set[int] = set()
    for old, new in gaps((len(source), len(target)), pairs):
        a, b = ([bare(words[i]) for i in gap] for words, gap in ((source, old), (target, new)))
        if _letters(a) == _letters(b):
            ours, theirs = ours | set(old), theirs | set(new)
        elif len(a) == len(b):
            alike = [k for k, (x, y) in enumerate(zip(a, b, strict=True)) if _misspelt(x, y)]
            ours, theirs = ours | {old[k] for k in alike}, theirs | {new[k] for k in alike}
    return ours, theirs


def _letters(words: Sequence[str]) -> str:
    return "".join(c for word in words for c in word if c.isalnum())


def _misspelt(a: str, b: str) -> bool:
    unknown = not look_up(a).parts or not look_up(b).parts
    return unknown and min(len(a), len(b)) > 3 and a[0] == b[0] and SequenceMatcher(None, a, b).ratio() >= ALIKE
