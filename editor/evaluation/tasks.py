"""The tasks: clips of the demo world, an edit of each in words, and the right answer.

`tasks.json` lists them; `make_tasks` wrote it and a test holds the two together. Every clip is edited in four ways, so
that its inversion is shared: another colour, another subject, another place, another look.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path

import numpy as np
from numpy.random import Generator

from editor.demo.dataset import UNSEEN_SEED, training_triples
from editor.demo.vocabulary import COLORS, DARK_PLACES, LOOKS, PLACES, SUBJECTS, caption
from editor.demo.world import Scene, render_at
from editor.events import EditError

KINDS = ("color", "subject", "place", "look")
HALVES = ("search", "report")
CLIPS = 20
FRAMES = 8
FILE = Path(__file__).with_name("tasks.json")
LISTED = 0
"""The seed of the listed tasks."""


@dataclass(frozen=True)
class Task:
    """One edit: `source` is to become `target`, which differs in the attribute `kind` and in nothing else."""

    id: str
    clip: str
    kind: str
    half: str
    source: Scene
    target: Scene
    source_prompt: str
    target_prompt: str


@dataclass(frozen=True)
class Drawn:
    """A task in pixels: `source` and `truth` uint8 (F, H, W, 3).

    `unchanged` and `changed`, bool (F, H, W): the part that must stay as it is, and the part that must become the
    truth. Both are None for a look, which changes every pixel. Between them lies what belongs to neither, such as soft
    edges.
    """

    source: np.ndarray
    truth: np.ndarray
    unchanged: np.ndarray | None
    changed: np.ndarray | None


def draw(task: Task, frames: int = FRAMES, size: int = 96) -> Drawn:
    """Render the clip, its ground truth and the masks."""
    source, touched, opaque = rendered(task.source, frames, size)
    truth, touched_after, opaque_after = rendered(task.target, frames, size)
    source, truth = source.copy(), truth.copy()  # the rendered ones are shared and must not be written to
    if task.kind == "look":
        return Drawn(source, truth, None, None)
    if task.kind == "place":
        return Drawn(source, truth, opaque & opaque_after, ~(touched | touched_after))
    either = touched | touched_after
    return Drawn(source, truth, ~either, either)


@lru_cache(maxsize=64)
def rendered(scene: Scene, frames: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, touched and opaque masks of `scene`, at moments spread over its clip. Not to be written to."""
    arrays = render_at(scene, [(i + 0.5) / frames for i in range(frames)], size)
    for array in arrays:
        array.flags.writeable = False
    return arrays


def alternatives(task: Task) -> dict[str, Scene]:
    """Every value of the edited attribute with the scene it gives, the source's own and the right answer included."""
    values = {"color": COLORS, "subject": tuple(SUBJECTS), "place": tuple(PLACES), "look": tuple(LOOKS)}
    return {value: changed(task.source, task.kind, value) for value in values[task.kind]}


def changed(scene: Scene, kind: str, value: str) -> Scene:
    """`scene` with another `value` of the attribute `kind`; an unpaintable subject comes in its own colours."""
    if kind == "subject" and not SUBJECTS[value].paintable:
        return replace(scene, subject=value, color=None)
    return replace(scene, **{kind: value})


def load_tasks(half: str | None = None, first: int | None = None, seed: int = LISTED) -> tuple[Task, ...]:
    """The listed tasks, or those made with another `seed`: of one half or both, and the `first` so many of them.

    Any four in a row are one of each kind. Raises `EditError` for more than there are, and for a negative seed.
    """
    if seed < 0:
        raise EditError(f"task-seed is {seed}. Allowed: 0 (the listed tasks) or more.")
    tasks = make_tasks(seed) if seed != LISTED else _listed()
    chosen = [task for task in tasks if half in (None, task.half)]
    if first is not None and not 1 <= first <= len(chosen):
        raise EditError(f"tasks is {first}. Allowed: 1 to {len(chosen)}.")
    return tuple(chosen[:first])


def _listed() -> tuple[Task, ...]:
    listed = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(Task(**{**t, "source": Scene(**t["source"]), "target": Scene(**t["target"])}) for t in listed)


def by_clip(tasks: Iterable[Task]) -> tuple[tuple[Task, ...], ...]:
    """The tasks that share a clip together, in their order."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.clip, []).append(task)
    return tuple(tuple(group) for group in groups.values())


def make_tasks(seed: int = LISTED) -> tuple[Task, ...]:
    """Draw the tasks anew: every second clip is for the search.

    Attributes take turns, so that both halves show all of them. Seeds lie beyond the training's; the (subject, colour,
    place) of source and target were trained on, since the question is what an edit does, not what the model never saw.
    Source subjects can be painted, so that all four edits exist.
    """
    rng = np.random.default_rng([seed, 11])
    paintable = [name for name, kind in SUBJECTS.items() if kind.paintable]
    decks = {half: [_shuffled(deck, rng) for deck in (paintable, COLORS, PLACES)] for half in HALVES}
    tasks = []
    for number in range(CLIPS):
        tasks += _clip_tasks(number, decks[HALVES[number % len(HALVES)]], rng)
    return tuple(tasks)


def _clip_tasks(number: int, decks: Sequence[Sequence[str]], rng: Generator) -> list[Task]:
    """The four edits of one clip. Every fifth source has another look than plain, so one may be taken away as well."""
    trained, turn = set(training_triples()), number // len(HALVES)
    subject, _, place = (deck[turn % len(deck)] for deck in decks)
    look, seed = "plain", UNSEEN_SEED + int(rng.integers(UNSEEN_SEED))
    if number % 10 in (4, 5):
        look = "sketch" if place in DARK_PLACES else ("sunset", "sketch")[(number // 10 + number) % 2]
    for attempt in count(turn):
        source = Scene(subject, decks[1][attempt % len(COLORS)], place, look, seed)
        targets = {kind: _target(source, kind, number, attempt) for kind in KINDS}
        if all((s.subject, s.color, s.place) in trained for s in (source, *targets.values())):
            break
    wording = 0 if rng.random() < 0.4 else int(rng.integers(8))
    return [
        Task(
            id=f"{kind}-{number:02}",
            clip=f"clip-{number:02}",
            kind=kind,
            half=HALVES[number % len(HALVES)],
            source=source,
            target=target,
            source_prompt=caption(source, wording),
            target_prompt=caption(target, wording),
        )
        for kind, target in targets.items()
    ]


def _target(source: Scene, kind: str, number: int, turn: int) -> Scene:
    """Another value of one attribute, in turns. Every third subject is one that cannot be painted."""
    wanted, dark = number % 3 != 2, source.place in DARK_PLACES
    values = {
        "color": COLORS,
        "subject": [name for name, subject in SUBJECTS.items() if subject.paintable == wanted],
        "place": [p for p in PLACES if source.look != "sunset" or p not in DARK_PLACES],
        "look": [look for look in LOOKS if look != "sunset" or not dark],
    }
    others = [value for value in values[kind] if value != getattr(source, kind)]
    if kind == "look" and "sunset" in others and number % 5:  # else sketches prevail, since in the dark no sun sets
        return changed(source, kind, "sunset")
    step = 3 if kind == "place" else 1  # neighbours in the list of places are alike
    return changed(source, kind, others[turn * step % len(others)])


def _shuffled(values: Iterable[str], rng: Generator) -> list[str]:
    return [str(value) for value in rng.permutation(list(values))]


def as_json(tasks: Iterable[Task]) -> str:
    """The text of `tasks.json`: one task a line."""
    lines = ",\n".join(" " + json.dumps(asdict(task)) for task in tasks)
    return f"[\n{lines}\n]\n"


def write_tasks() -> None:
    """Write `tasks.json` anew. Results that were measured on other tasks are then no longer comparable."""
    FILE.write_text(as_json(make_tasks()), encoding="utf-8")
