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


def score(records: Sequence[Record]) -> float:
    """One number to rank a search by; higher is better. Only its order matters.

    psnr + unchanged_psnr / 2 + 20 recognised - temporal_error: 1 dB of the whole weighs as much as 2 dB of the part
    that must stay, one in twenty edits recognised, or one level of temporal error. Recognised is the mean of what the
    nearest picture and the classifier say, and kinds count the same.
    """
    summary = summarise(records)
    parts = (summary["psnr"] or 0.0, (summary["unchanged_psnr"] or 0.0) / 2, 20 * (_recognised(records) or 0.0))
    return round(sum(parts) - (summary["temporal_error"] or 0.0), 4)


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
    """Share of edits recognised, by the nearest picture and by the classifier where it was asked; kinds count alike."""
    shares = []
    for kind in KINDS:
        chosen = [record for record in records if record.kind == kind]
        judged = mean(record.extra.get("judged") for record in chosen)
        shares.append(mean((mean(float(record.right) for record in chosen), judged)))
    return mean(shares)
