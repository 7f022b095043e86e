"""What is compared: named ways to answer a task, as data.

A configuration is a preset with some fields changed, or one of the yardsticks that edit nothing. The grid of a search
is a list of the same kind in a JSON file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from editor.evaluation.tasks import FRAMES, Task
from editor.events import EditError
from editor.request import PRESETS, EditRequest

GRID = Path(__file__).with_name("grid.json")
HOW = ("edit", "source", "vae", "truth", "sdedit")


@dataclass(frozen=True)
class Configuration:
    """One way to answer tasks.

    `how`: "edit" runs the method with `preset` and the changed `fields`; "source" returns the clip untouched, "vae" the
    clip after the VAE's round trip, "truth" the right answer after it; "sdedit" noises the clip on the part `noise` of
    the steps and denoises it. `frames` per clip; `first`: only so many of the tasks; None: all. `ablation`: it is to be
    compared with its preset, on the same tasks. `check_reconstruction`: also measure how well the clip itself comes
    back.
    """

    name: str
    about: str
    how: str = "edit"
    preset: str = "balanced"
    fields: Mapping[str, Any] = field(default_factory=dict)
    noise: float = 0.0
    frames: int = FRAMES
    first: int | None = None
    ablation: bool = False
    check_reconstruction: bool = False

    def request(self, tasks: Sequence[Task], model: str) -> EditRequest:
        """The request for tasks that share a clip. Raises `EditError` for fields or values that do not exist."""
        return EditRequest.from_preset(
            self.preset,
            source=tasks[0].source_prompt,
            targets=tuple(task.target_prompt for task in tasks),
            model=model,
            max_frames=self.frames,
            **self.fields,
        ).validated()

    def settings(self, model: str = "demo") -> dict[str, Any]:
        """All of the method's numbers for a model, as JSON values, so that a later change of a default is noticed."""
        if self.how in ("source", "vae", "truth"):
            return {}
        values = EditRequest.from_preset(self.preset, model=model, **self.fields).to_dict()
        if self.how == "sdedit":
            return {**{name: values[name] for name in OF_SDEDIT}, "noise": self.noise}
        names = [f.name for f in fields(EditRequest) if f.metadata["advanced"] and f.name not in OF_THE_CLIP]
        return {name: values[name] for name in names}


def presets() -> tuple[Configuration, ...]:
    """The presets as they are shipped."""
    return tuple(Configuration(name, f"the preset {name}", preset=name, check_reconstruction=True) for name in PRESETS)


OF_THE_CLIP = ("key_fps", "max_frames", "agreement", "window", "size")
"""Options that have no part in editing given frames of the model's own size."""

OF_SDEDIT = ("steps", "guidance_scale", "guidance_stop")
"""Options that SDEdit uses."""

ALONE = {"frame_attention": "own", "dense_layers": "none"}
UNHINDERED = {"replace_window": 0.0, "refine_window": 0.0}
LOSS = {"spatial_pixel_weight": 1.0, "spatial_gradient_weight": 1.0}

YARDSTICKS = (
    Configuration("untouched", "the clip as it was", "source"),
    Configuration("vae_round_trip", "the clip, encoded and decoded: what the VAE alone leaves", "vae"),
    Configuration("truth_round_trip", "the right answer, encoded and decoded: no edit can be better", "truth"),
    Configuration(
        "sdedit",
        "SDEdit (arXiv 2108.01073), frame by frame: noise on 60 % of the steps, then the target prompt",
        "sdedit",
        fields={"steps": 50, "guidance_scale": 7.5},
        noise=0.6,
    ),
    Configuration("frame_by_frame", "balanced, every frame by itself: no attention across frames", fields=ALONE),
)

ABLATION_TASKS = 16
"""An ablation asks for a difference on the same tasks, which these show: four clips, each kind of edit four times."""


def _changed(preset: str, what: str, about: str, **fields: Any) -> Configuration:  # noqa: ANN401
    """The preset with some fields changed."""
    return Configuration(
        f"{preset}_{what}", f"{preset}{about}", preset=preset, fields=fields, first=ABLATION_TASKS, ablation=True
    )


PAPER_ABLATIONS = (
    _changed("paper", "frame_by_frame", " without attention across frames", **ALONE),
    _changed("paper", "without_dense", ", sparse in all layers", dense_layers="none"),
    _changed("paper", "without_null_text", " without null-text optimisation: plain DDIM inversion", inversion="ddim"),
    _changed("paper", "without_maps", " without the source's text attention maps", **UNHINDERED),
    _changed("paper", "with_loss", " with the pixel and gradient loss", **LOSS),
)

BALANCED_ABLATIONS = (
    _changed("balanced", "with_dense", ", some layers see all frames", dense_layers="paper"),
    _changed("balanced", "unguided", " without guidance", guidance_scale=1.0),
    _changed("balanced", "one_guidance", ", all kinds guided alike", setting_guidance=1.0, subject_guidance=1.0),
    _changed("balanced", "same_steps", ", as many steps for every kind of edit", swap_steps=0),
    _changed("balanced", "without_maps", " without the source's text attention maps", **UNHINDERED),
    _changed("balanced", "without_blend", " without the blend", blend=False),
    _changed(
        "balanced", "attention_region", ", the blend's region from the words' attention", blend_region="attention"
    ),
    _changed("balanced", "nothing_kept", " without keeping the main thing in a new place", kept_window=0.0),
    _changed("balanced", "without_detail", " without the clip's own detail given back", keep_detail=False),
    _changed("balanced", "without_residual", " without the source's residual", residual=0.0),
    _changed("balanced", "from_empty", ", guided away from nothing", guidance_base="empty"),
    _changed("balanced", "not_pinned", ", the source row denoised", inversion="ddim"),
    _changed("balanced", "own_self_attention", " without the source's self-attention maps", self_attention="own"),
    _changed("balanced", "source_kv", " with the source's keys and values", self_attention="source_kv"),
    _changed("balanced", "with_loss", " with the pixel and gradient loss", **LOSS),
)

FRAME_COUNTS = tuple(
    Configuration(f"balanced_{n}_frames", f"balanced on {n} frames of the clip", frames=n, first=8) for n in (1, 4, 16)
)


def baselines(searched: Iterable[Mapping[str, Any]] = ()) -> tuple[Configuration, ...]:
    """All that the presets are compared with. `searched`: rows of a search, which tune the paper's guidance."""
    return (*YARDSTICKS, *tuned_paper(searched), *PAPER_ABLATIONS, *BALANCED_ABLATIONS)


def tuned_paper(searched: Iterable[Mapping[str, Any]]) -> tuple[Configuration, ...]:
    """The paper with the guidance scale that gained most on the search half; nothing before a search.

    Without it the comparison would be against a setting that was made for another model.
    """
    rows = [row for row in searched if row["preset"] == "paper" and set(row["fields"]) <= {"guidance_scale"}]
    rows = [row for row in rows if row["gains"]["all"] is not None]
    if not rows:
        return ()
    best = dict(min(rows, key=by_gain)["fields"])
    return (Configuration("paper_tuned", "paper, its guidance tuned on the search half", preset="paper", fields=best),)


def by_gain(row: Mapping[str, Any]) -> tuple[str, bool, float]:
    """Sort key of a search's rows: by preset, the greatest gain first, what could not be compared last."""
    gain = row["gains"]["all"]
    return row["preset"], gain is None, -(gain or 0.0)


def read_grid(path: Path = GRID) -> tuple[Configuration, ...]:
    """The configurations of a search: a JSON list of objects with `name`, and where they differ `preset`, `fields`,
    and `first`, if only so many tasks are to be measured.

    Raises `EditError` for a file that is no such list, two of one name, and fields or values that cannot be used.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        grid = tuple(
            Configuration(
                row["name"],
                row.get("about", ""),
                preset=row.get("preset", "balanced"),
                fields=_plain(row["fields"]),
                first=row.get("first"),
            )
            for row in rows
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        form = '[{"name": "gentle", "preset": "balanced", "fields": {"guidance_scale": 5}}]'
        raise EditError(f"The grid '{path}' cannot be read ({error}). It must look like {form}.") from error
    for name, first in ((configuration.name, configuration.first) for configuration in grid):
        if first is not None and not (isinstance(first, int) and first > 0):
            raise EditError(
                f"In the grid '{path}' {name} has first {first!r}. It must be a number of tasks, 1 or more."
            )
    names = [configuration.name for configuration in grid]
    doubled = sorted({name for name in names if names.count(name) > 1})
    unusable = sorted({name for name in names if not name.replace("-", "").replace("_", "").replace(".", "").isalnum()})
    if not names or doubled or unusable:
        wrong = ", ".join(doubled or unusable) or "nothing"
        raise EditError(f"The grid '{path}' lists {wrong}. Names must be there, differ, and be letters, digits, . - _.")
    for configuration in grid:
        EditRequest.from_preset(configuration.preset, source="a", targets=("b",), **configuration.fields).validated()
    return grid


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
