"""The numbers that the project set out to reach, read from summaries by configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from editor.evaluation.summary import overall

Summaries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """`value` is to be at least `least`; it is None where something that it needs was not measured."""

    text: str
    value: float | None
    least: float

    @property
    def reached(self) -> bool | None:
        """None: not measured."""
        return None if self.value is None else self.value >= self.least


def goals(summaries: Summaries) -> list[Goal]:
    """All goals with what was measured of them."""
    found = []
    for text, least, value in GOALS:
        try:
            found.append(Goal(text, round(value(summaries), 4), least))
        except (KeyError, TypeError):  # a configuration was not run, or one of its means is None
            found.append(Goal(text, None, least))
    return found


def _more(metric: str, ours: str, theirs: str) -> Callable[[Summaries], float]:
    """By how much `ours` exceeds `theirs`."""
    return lambda s: s[ours][metric] - s[theirs][metric]


def _names_more(ours: str, theirs: str) -> Callable[[Summaries], float]:
    """By how much more of its edits `ours` is recognised, over all kinds."""
    return lambda s: overall(s[ours]) - overall(s[theirs])


def _recognised(kind: str) -> Callable[[Summaries], float]:
    return lambda s: s["balanced"]["identification"][kind]


GOALS: tuple[tuple[str, float, Callable[[Summaries], float]], ...] = (
    ("balanced over paper: PSNR to the right answer, dB", 1.5, _more("psnr", "balanced", "paper")),
    ("balanced over paper: PSNR of the unchanged part, dB", 3.0, _more("unchanged_psnr", "balanced", "paper")),
    ("balanced over paper: share of edits recognised", 0.0, _names_more("balanced", "paper")),
    ("balanced under paper: temporal error, levels", 0.0, _more("temporal_error", "paper", "balanced")),
    (
        "paper's counted work in balanced's",
        5.0,
        lambda s: s["paper"]["unet_evaluations_per_frame"] / s["balanced"]["unet_evaluations_per_frame"],
    ),
    ("balanced: colour edits recognised", 0.9, _recognised("color")),
    ("balanced: place edits recognised", 0.8, _recognised("place")),
    ("balanced: subject edits recognised", 0.7, _recognised("subject")),
    ("balanced to the VAE round trip: unchanged part, dB", -1.5, _more("unchanged_psnr", "balanced", "vae_round_trip")),
    ("balanced over the untouched clip: changed part, dB", 3.0, _more("changed_psnr", "balanced", "untouched")),
    ("fast over paper: PSNR to the right answer, dB", 0.0, _more("psnr", "fast", "paper")),
    ("fast over paper: PSNR of the unchanged part, dB", 0.0, _more("unchanged_psnr", "fast", "paper")),
    ("fast over paper: share of edits recognised", 0.0, _names_more("fast", "paper")),
    ("fast under paper: temporal error, levels", 0.0, _more("temporal_error", "paper", "fast")),
    (
        "temporal error that attention across frames takes away, share",
        0.2,
        lambda s: 1 - s["balanced"]["temporal_error"] / s["frame_by_frame"]["temporal_error"],
    ),
)
"""What is measured, the least it shall be, and how it follows from the summaries."""
