"""The demo world in words: what exists in it, what each thing is called, and scenes made of them. Nothing is drawn."""

from dataclasses import dataclass

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
