"""From results of tasks to the numbers that are compared: means, and the score of a search."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from editor.evaluation.records import Record
from editor.evaluation.tasks import KINDS

EXACT = ("color", "look")
"""Edits with one right picture. Of a subject or a place only the name is given, and scenery that is as good but stands
elsewhere would be punished, so these are judged by identification and by the part that must stay."""


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Means over tasks; None where no task says anything.

    `psnr`, `ssim`: whole frames, colour and look edits. `unchanged_psnr`: the part that must stay, all edits but looks.
    `changed_psnr`: the part that must change, colour edits. `identification`: share of right answers by kind.
    `temporal_error`: all edits. `unet_evaluations_per_frame`: of one edit by itself.
    """
    exact = [r for r in records if r.kind in EXACT]
    return {
        "psnr": _mean(exact, "psnr"),
        "ssim": _mean(exact, "ssim"),
        "unchanged_psnr": _mean(records, "unchanged_psnr"),
        "changed_psnr": _mean([r for r in records if r.kind == "color"], "changed_psnr"),
        "identification": {kind: mean(float(r.right) for r in records if r.kind == kind) for kind in KINDS},
        "temporal_error": _mean(records, "temporal_error"),
        "unet_evaluations_per_frame": mean(r.cost for r in records),
    }


def details(records: Sequence[Record]) -> dict[str, float | None]:
    """Further means for the report; those with CLIP only where it was asked."""
    return {
        "unchanged_ssim": _mean(records, "unchanged_ssim"),
        "warp_error": _mean(records, "warp_error"),
        "rebuilt": mean(r.rebuilt for r in records),
        "judged": mean(r.extra.get("judged") for r in records),
        "clip_text": mean(r.extra.get("clip_text") for r in records),
        "clip_frames": mean(r.extra.get("clip_frames") for r in records),
        "seconds": mean(r.seconds for r in records),
    }


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there, rounded to four decimals; None when nothing is."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def _mean(records: Sequence[Record], metric: str) -> float | None:
    return mean(r.metrics[metric] for r in records)


def overall(summary: Mapping[str, Any]) -> float | None:
    """Identification over all kinds that were asked, each counting the same."""
    return mean(summary["identification"].values())


def score(summary: Mapping[str, Any]) -> float:
    """One number to rank a search by; higher is better. Only its order matters.

    psnr + unchanged_psnr / 2 + 20 identification - temporal_error: 1 dB of the whole weighs as much as 2 dB of the part
    that must stay, one in twenty edits recognised, or one level of temporal error.
    """
    parts = (summary["psnr"] or 0.0, (summary["unchanged_psnr"] or 0.0) / 2, 20 * (overall(summary) or 0.0))
    return round(sum(parts) - (summary["temporal_error"] or 0.0), 4)
