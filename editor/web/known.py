"""The words of the built-in model, for the page's chips and warnings. The only place that knows the demo world."""

from typing import Any

from editor.demo import vocabulary

BUILT_IN = "demo"
NAMES = {"subjects": "Things", "colors": "Colours", "places": "Places", "looks": "Looks"}


def unknown_words(prompt: str, model: str) -> list[str]:
    """Words the built-in model has never seen; of other models nothing is known, so nothing is said."""
    return vocabulary.unknown_words(prompt) if model == BUILT_IN else []


def chips() -> dict[str, Any]:
    """The value of the page's word chips."""
    groups = [{"name": NAMES.get(kind, kind), "words": list(words)} for kind, words in vocabulary.GROUPS.items()]
    return {"groups": groups}
