"""Which words of two sentences stand for each other."""

from collections.abc import Sequence

from editor.reading.lexicon import bare


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


def in_place(source: Sequence[str], target: Sequence[str], pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether single words are exchanged: equally many, and those that stay stand at their old places.

    Differs from Prompt-to-Prompt, to which equal length is enough.
    """
    if len(source) != len(target):
        return False
    return sum(bare(a) == bare(b) for a, b in zip(source, target, strict=True)) >= len(pairs)
