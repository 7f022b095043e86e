"""The demo world's nouns: what exists in it and what each thing is called. No drawing, no torch here."""

from dataclasses import dataclass

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
