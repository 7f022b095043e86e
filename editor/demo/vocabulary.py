"""The words that the built-in model knows. No torch here: the page shows them."""

import re
from functools import lru_cache

from editor.demo.captions import caption
from editor.demo.words import COLORS, LOOKS, PLACES, SUBJECTS, Scene

GROUPS: dict[str, tuple[str, ...]] = {
    "subjects": tuple(SUBJECTS),
    "colors": COLORS,
    "places": tuple(PLACES.values()),
    "looks": tuple(words[0] for words in LOOKS.values() if words),
}
"""What the page offers to click, by kind."""


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """Every lower-case word of the caption grammar."""
    texts = {
        caption(Scene(subject, color, place, look), wording, look_wording)
        for subject, kind in SUBJECTS.items()
        for color in (COLORS if kind.paintable else (None,))
        for place in PLACES
        for look in LOOKS
        for wording in range(8)
        for look_wording in range(6 if look != "plain" else 1)
    }
    return frozenset(word for text in texts for word in _words(text))


def unknown_words(prompt: str) -> list[str]:
    """The words of `prompt`, lower case, in order and once each, that the built-in model has never seen."""
    return list(dict.fromkeys(word for word in _words(prompt) if word not in known_words()))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())
