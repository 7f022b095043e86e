"""Which rows of the batch each step needs, and what that costs. Imports no torch.

A row that can no longer influence a target is not run: the source row ends with its last reader, the rows that guidance
pushes away from end with guidance. `as_published` runs them all to the end, as the authors' code does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from editor.request import EditRequest, window_steps

BACKWARD = 1.08
"""Cost of a backward pass to the text embedding, in forward passes."""


class Controlled(Protocol):
    """What is needed of a `Control` or a `ControlPlan` here."""

    window: tuple[float, float]
    self_window: tuple[float, float]
    changed_source: tuple[int, ...]
    kept: tuple[int, ...]
    residual: float


@dataclass(frozen=True)
class Rows:
    """The rows of one UNet call, in this order: source, source base, the targets' bases, the targets' texts, and where
    a negative prompt pushes, each target with the negative and then each with the empty prompt.

    A base is the row that guidance pushes away from.
    """

    targets: int
    source: bool
    source_base: bool
    base: bool
    negative: bool = False

    @property
    def first_base(self) -> int:
        """Index of the first target's base row, if there is one."""
        return int(self.source) + int(self.source_base)

    @property
    def first_text(self) -> int:
        """Index of the first target's text row."""
        return self.first_base + self.targets * int(self.base)

    @property
    def first_negative(self) -> int:
        """Index after the last target's text row: the first target's row with the negative prompt, if there is one."""
        return self.first_text + self.targets

    @property
    def texts(self) -> tuple[tuple[int, str], ...]:
        """The rows that read the prompts themselves, with the names that their text attention maps go under."""
        source = ((0, "source"),) if self.source else ()
        return (*source, *((self.first_text + j, f"target {j}") for j in range(self.targets)))

    @property
    def count(self) -> int:
        """UNet evaluations per frame."""
        return self.first_negative + 2 * self.targets * int(self.negative)


def guidance_at(request: EditRequest, step: int) -> float:
    """The guidance scale of this step: `guidance_scale` until `guidance_stop`, then 1."""
    return request.guidance_scale if step in window_steps((0.0, request.guidance_stop), request.steps) else 1.0


def row_schedule(request: EditRequest, plans: Sequence[Controlled]) -> tuple[Rows, ...]:
    """The rows of every step."""
    source = source_steps(request, plans)
    rows = []
    for step in range(request.steps):
        guided = guidance_at(request, step) != 1.0
        has_source = step in source
        # a pinned source is set, not denoised; with its own prompt as the base, guidance leaves a source row as it is
        own_base = not request.source_pinned and request.guidance_base != "source"
        rows.append(
            Rows(len(plans), has_source, has_source and guided and own_base, guided, guided and pushes(request))
        )
    return tuple(rows)


def pushes(request: EditRequest) -> bool:
    """Whether a negative prompt adds a push of its own; away from the empty prompt it takes that prompt's place."""
    return bool(request.negative_prompt) and request.guidance_base == "source" and request.negative_scale > 0


def source_steps(request: EditRequest, plans: Sequence[Controlled]) -> set[int]:
    """The steps that run the source row.

    Its readers are the residual, the takeover of maps, self-attention that is not the target's own, and the maps that
    show where the edit acts, until the blend begins, and what is kept, as long as it is. A pinned source can pause; one
    that is denoised must run until its last reader.
    """
    steps = request.steps
    if request.as_published:
        return set(range(steps))
    readers: set[int] = set()
    if request.source_pinned and any(request.residual * plan.residual > 0 for plan in plans):
        readers |= set(window_steps(request.residual_window, steps))
    for plan in plans:
        readers |= set(window_steps(plan.window, steps))
        if request.self_attention != "own":
            readers |= set(window_steps(plan.self_window, steps))
    by_words = seeks_region(request) is not None  # at the least as the fall-back
    if by_words and any(plan.changed_source for plan in plans):
        before = window_steps((0.0, request.blend_start), steps)
        readers |= set(range(min(steps, before.stop + 1)))  # also on the step after which the blend begins
    if any(keeps_main(request, plan) for plan in plans):
        readers |= set(window_steps((0.0, request.kept_window), steps))
    if not request.source_pinned and readers:
        return set(range(max(readers) + 1))
    return readers


def seeks_region(request: EditRequest) -> str | None:
    """How the region of the changed words is found, attention or difference; None if nothing asks for it.

    The difference is that between the target's and the source's prompt on the same latents: it needs guidance whose
    base is the source prompt.
    """
    if not (request.blend or has_spatial_loss(request)):
        return None
    from_source = request.guidance_base == "source" and guidance_at(request, 0) != 1.0
    return request.blend_region if from_source else "attention"


def keeps_main(request: EditRequest, plan: Controlled) -> bool:
    """Whether the main thing is held as it is while its place is exchanged."""
    return request.blend and request.kept_window > request.blend_start and bool(plan.kept)


def has_spatial_loss(request: EditRequest) -> bool:
    """Whether the spatial loss acts."""
    return request.spatial_pixel_weight > 0 or request.spatial_gradient_weight > 0


def spatial_steps(request: EditRequest) -> range:
    """The steps on which the spatial loss acts: every k-th of its window."""
    window = window_steps(request.spatial_window, request.steps) if has_spatial_loss(request) else range(0)
    return window[:: request.spatial_every]


def fitted_steps(request: EditRequest) -> range:
    """The steps whose null text is fitted: those that use it, or all of them as published. Needs guidance."""
    guided = window_steps((0.0, request.guidance_stop if request.guidance_scale != 1.0 else 0.0), request.steps)
    window = guided if request.as_published else window_steps(request.null_text_window, request.steps)
    return range(window.start, max(window.start, min(window.stop, guided.stop)))


def planned_evaluations(request: EditRequest, plans: Sequence[Controlled]) -> dict[str, float]:
    """UNet evaluations per frame of each stage; the null-text fit may stop early, so its number is an upper bound."""
    return {
        "invert": 0.0 if request.inversion == "virtual" else float(request.steps),
        "null_text": _planned_null_text(request) if request.inversion == "null_text" else 0.0,
        "edit": float(sum(rows.count for rows in row_schedule(request, plans))),
    }


def _planned_null_text(request: EditRequest) -> float:
    """Each fitted step runs the text row, forward and back per inner step, and then the step itself is taken.

    For that the text row's result is used again and the last step is left out, but for runs as published.
    """
    fitted = fitted_steps(request)
    if not fitted:
        return 0.0
    before = sum(1 + (guidance_at(request, step) != 1.0) for step in range(fitted.start))
    taken = 2 * len(fitted) if request.as_published else len(fitted) - 1
    return before + len(fitted) * (1 + request.null_text_inner_steps * (1 + BACKWARD)) + taken
