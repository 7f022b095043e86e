"""The demo world in words: what exists in it, scenes made of that, every way to put a scene into words, and the words
that the built-in model knows. Nothing is drawn and no torch is loaded here: the page shows these words.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from numpy.random import Generator

from editor.events import EditError

COLORS = ("red", "orange", "yellow", "green", "blue", "purple")


@dataclass(frozen=True)
class Subject:
    """A thing that moves. `hue` is the painted part's own hue in degrees and its half width; None: not paintable."""

    verbs: tuple[str, ...]
    hue: tuple[float, float] | None = None

    @property
    def paintable(self) -> bool:
        return self.hue is not None


SUBJECTS: dict[str, Subject] = {
    "car": Subject(("driving", "moving"), (355, 28)),
    "fox": Subject(("standing", "moving"), (22, 24)),
    "fish": Subject(("floating", "moving"), (205, 40)),
    "dinosaur": Subject(("walking", "moving"), (160, 45)),
    "balloon": Subject(("floating", "moving"), (340, 60)),
    "apple": Subject(("rolling", "moving"), (350, 30)),
    "turtle": Subject(("walking", "moving"), (150, 80)),
    "star": Subject(("floating", "moving"), (42, 25)),
    "tractor": Subject(("driving", "moving"), (150, 40)),
    "penguin": Subject(("walking", "moving")),
    "snowman": Subject(("standing", "moving")),
    "duck": Subject(("walking", "moving")),
    "rocket": Subject(("flying", "moving")),
    "cow": Subject(("walking", "moving")),
}

PLACES: dict[str, str] = {
    "road": "on the road",
    "snow": "in the snow",
    "desert": "in the desert",
    "beach": "on the beach",
    "grass": "on the grass",
    "forest": "in the forest",
    "city": "in the city at night",
    "space": "in space",
}

LOOKS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "sunset": ("at sunset",),
    "sketch": ("as a pencil sketch", "pencil sketch"),
}

DARK_PLACES = ("city", "space")
"""Places where the sun does not set: the training and the tasks never combine them with the look `sunset`."""


@dataclass(frozen=True)
class Scene:
    """What is to be seen. `color` is None for a subject in its own colours; `seed` fixes motion, camera, scenery."""

    subject: str
    color: str | None = None
    place: str = "grass"
    look: str = "plain"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("subject", self.subject, SUBJECTS),
            ("place", self.place, PLACES),
            ("look", self.look, LOOKS),
            ("color", self.color, (*COLORS, None)),
        ):
            if value not in known:
                allowed = ", ".join(k for k in known if k)
                raise EditError(f"The demo world has no {name} '{value}'. It knows: {allowed}.")
        if self.color and not SUBJECTS[self.subject].paintable:
            can = ", ".join(k for k, s in SUBJECTS.items() if s.paintable)
            raise EditError(f"A {self.subject} cannot be painted {self.color}: leave the colour out. Paintable: {can}.")
        if self.seed < 0:
            raise EditError(f"The seed is {self.seed}. Allowed: 0 or more.")


_PLAIN = ("{thing} {place}", "{thing} is {verb} {place}", "a video of {thing} {place}", "a picture of {thing} {place}")
_LOOKED = ("{base}, {look}", "{base} {look}", "{look}, {base}")


def noun_phrase(scene: Scene) -> str:
    """The subject with its colour and article: "an orange car", "a penguin"."""
    words = f"{scene.color} {scene.subject}" if scene.color else scene.subject
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: Scene, wording: int = 0, look_wording: int = 0) -> str:
    """The scene in words. `wording` and `look_wording` choose among the grammar's forms; 0 is the plainest."""
    verbs = SUBJECTS[scene.subject].verbs
    form = _PLAIN[wording % len(_PLAIN)]
    base = form.format(
        thing=noun_phrase(scene), place=PLACES[scene.place], verb=verbs[wording // len(_PLAIN) % len(verbs)]
    )
    looks = LOOKS[scene.look]
    if not looks:
        return base
    look = looks[look_wording // len(_LOOKED) % len(looks)]
    return _LOOKED[look_wording % len(_LOOKED)].format(base=base, look=look)


def any_caption(scene: Scene, rng: Generator) -> str:
    """One caption at random; the plainest form is the most frequent."""
    wording = 0 if rng.random() < 0.4 else int(rng.integers(8))
    return caption(scene, wording, int(rng.integers(6)))


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
