"""From results of tasks to the numbers that are compared: means, the score of a search, and the project's goals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from statistics import fmean
from typing import Any

import numpy as np

from editor.evaluation.records import Record
from editor.evaluation.tasks import KINDS

EXACT = ("color", "look")
"""Edits with one right picture. Of a subject or a place only the name is given, and scenery that is as good but stands
elsewhere would be punished, so these are judged by identification and by the part that must stay."""


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Means over tasks; None where no task says anything.

    `psnr`, `ssim`: whole frames, colour and look edits. `unchanged_psnr`: the part that must stay, all edits but looks.
    `changed_psnr`: the part that must change, colour edits. `sharpness`, `color_error`: the part that must change,
    colour and look edits. `identification`: share of right answers by kind. `temporal_error`: all edits.
    `unet_evaluations_per_frame`: of one edit by itself.
    """
    judged = {metric: mean(values(records, metric).values()) for metric in JUDGED}
    return {
        **judged,
        "identification": {kind: mean(values(records, kind).values()) for kind in KINDS},
        "temporal_error": _mean(records, "temporal_error"),
        "unet_evaluations_per_frame": mean(r.unet_evaluations_per_frame for r in records),
    }


JUDGED: Mapping[str, tuple[str, ...]] = {
    "psnr": EXACT,
    "ssim": EXACT,
    "unchanged_psnr": KINDS,
    "changed_psnr": ("color",),
    "sharpness": EXACT,
    "color_error": EXACT,
}
"""Measure -> the kinds of edits whose mean is said of it; all kinds where a measure is not named."""


def values(records: Sequence[Record], column: str) -> dict[str, float]:
    """What every task says of a measure of `JUDGED` or `METRICS`, or of a kind of edit (1: recognised), by task."""
    if column in KINDS:
        return {r.task: float(r.right) for r in records if r.kind == column}
    known = {r.task: r.metrics.get(column) for r in records if r.kind in JUDGED.get(column, KINDS)}
    return {task: value for task, value in known.items() if value is not None}


RESAMPLED = 2000


def interval(by_task: Mapping[str, float], level: float = 0.95) -> tuple[float, float] | None:
    """Between which two numbers the mean over tasks lies: the percentile bootstrap (Efron 1979), over clips.

    Edits of one clip go together, since they share what is hard about it: whole clips are drawn again, with the same
    random numbers every time. None for fewer than three clips.
    """
    clips: dict[str, list[float]] = {}
    for task, value in by_task.items():
        clips.setdefault(task.rpartition("-")[2], []).append(value)
    if len(clips) < 3:
        return None
    sums, counts = (np.array([measure(found) for found in clips.values()], float) for measure in (sum, len))
    drawn = np.random.default_rng(0).integers(0, len(clips), (RESAMPLED, len(clips)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def details(records: Sequence[Record]) -> dict[str, float | None]:
    """Further means for the report; those with CLIP only where it was asked."""
    return {
        "unchanged_ssim": _mean(records, "unchanged_ssim"),
        "warp_error": _mean(records, "warp_error"),
        "reconstruction_psnr": mean(r.reconstruction_psnr for r in records),
        "classified": _mean(records, "classified"),
        "clip_text": _mean(records, "clip_text"),
        "clip_frames": _mean(records, "clip_frames"),
        "seconds": mean(r.seconds for r in records),
    }


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there, rounded to four decimals; None when nothing is."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def _mean(records: Sequence[Record], metric: str) -> float | None:
    return mean(r.metrics.get(metric) for r in records)


def overall(summary: Mapping[str, Any]) -> float | None:
    """Identification over all kinds that were asked, each counting the same."""
    return mean(summary["identification"].values())


def score(records: Sequence[Record]) -> float:
    """One number to rank a search by; higher is better. Only its order matters.

    psnr + unchanged_psnr / 2 + 20 recognised - color_error / 2 - 5 |log2 sharpness| - temporal_error: 1 dB of the whole
    weighs as much as 2 dB of the part that must stay, one in twenty edits recognised, two units of CIEDE2000, an edit
    15 % too soft or too hard, or one level of temporal error. Recognised is three quarters what the nearest picture
    says and one quarter what the classifier says, which is lenient; kinds count the same.
    """
    summary = summarise(records)
    gained = (summary["psnr"] or 0.0) + (summary["unchanged_psnr"] or 0.0) / 2 + 20 * (_recognised(records) or 0.0)
    softness = mean(map(_octaves, (r.metrics.get("sharpness") for r in records if r.kind in EXACT)))
    lost = (summary["color_error"] or 0.0) / 2 + 5 * (softness or 0.0) + (summary["temporal_error"] or 0.0)
    return round(gained - lost, 4)


def _octaves(sharpness: float | None) -> float | None:
    """How far a sharpness is from 1, twice and half being one; at most four, since flat pictures have none."""
    return None if sharpness is None else abs(log2(min(max(sharpness, 1 / 16), 16.0)))


def gains(records: Sequence[Record], reference: Sequence[Record]) -> dict[str, float | None]:
    """By how much the score of `records` exceeds that of `reference`: over `all`, and for each kind.

    On the tasks that both have; None where there are none.
    """
    theirs = {record.task: record for record in reference}
    found: dict[str, float | None] = {}
    for kind in ("all", *KINDS):
        ours = [record for record in records if kind in ("all", record.kind) and record.task in theirs]
        found[kind] = round(score(ours) - score([theirs[r.task] for r in ours]), 4) if ours else None
    return found


def _recognised(records: Sequence[Record]) -> float | None:
    """Share of edits recognised; the classifier counts a third of the nearest picture, and kinds count alike."""
    shares = []
    for kind in KINDS:
        chosen = [record for record in records if record.kind == kind]
        nearest, classified = mean(float(record.right) for record in chosen), _mean(chosen, "classified")
        shares.append(nearest if nearest is None or classified is None else 0.75 * nearest + 0.25 * classified)
    return mean(shares)


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


def _as_sharp(summaries: Summaries) -> float:
    return 1 - abs(1 - summaries["balanced"]["sharpness"])


def _share(kind: str) -> Callable[[Summaries], float]:
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
    ("balanced: colour edits recognised", 0.95, _share("color")),
    ("balanced: subject edits recognised", 0.8, _share("subject")),
    ("balanced: place edits recognised", 0.95, _share("place")),
    ("balanced: look edits recognised", 1.0, _share("look")),
    ("balanced: changed part of colour edits, dB", 25.0, lambda s: s["balanced"]["changed_psnr"]),
    ("balanced: sharpness of colour and look edits, 1 less its distance from 1", 0.85, _as_sharp),
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
