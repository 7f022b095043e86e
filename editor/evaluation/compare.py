"""Whether results measured here agree with those in the repository."""

from collections.abc import Iterable

from editor.evaluation.records import Record, Store

TOLERANCES = {
    "psnr": 0.5,
    "unchanged_psnr": 0.5,
    "changed_psnr": 0.5,
    "ssim": 0.02,
    "unchanged_ssim": 0.02,
    "changed_ssim": 0.02,
    "temporal_error": 0.5,
    "warp_error": 0.5,
    "rebuilt": 0.5,
    "cost": 0.01,
}
"""How far a number may lie from the committed one: dB, SSIM, levels of 255, UNet evaluations per frame.

Another processor or number of threads sums in another order. Such differences grow from step to step, and a mask that
flips a cell makes them visible, yet they stay well below what one setting changes.
"""


def differences(fresh: Iterable[Record], committed: Store) -> tuple[int, list[str]]:
    """How many results were compared, and a sentence for each that does not agree."""
    compared, found = 0, []
    kept: dict[str, dict[str, Record]] = {}
    for record in fresh:
        if record.configuration not in kept:
            kept[record.configuration] = committed.read(record.configuration)
        known = kept[record.configuration].get(record.task)
        if known is None:
            continue
        compared += 1
        found += [f"{record.configuration}, {record.task}: {what}" for what in _between(record, known)]
    return compared, found


def _between(fresh: Record, known: Record) -> list[str]:
    """What differs between two results of one task."""
    if fresh.fingerprint != known.fingerprint:
        return ["the committed result is of other settings, another model or another task: measure it anew (--accept)"]
    said = []
    for name, tolerance in TOLERANCES.items():
        here, there = _value(fresh, name), _value(known, name)
        if (here is None) != (there is None):
            said.append(f"{name} is {here}, committed {there}")
        elif here is not None and there is not None and abs(here - there) > tolerance:
            said.append(f"{name} is {here:.3f}, committed {there:.3f}, allowed {tolerance:g} apart")
    if fresh.identified != known.identified:
        said.append(f"recognised as {fresh.identified}, committed {known.identified}")
    return said


def _value(record: Record, name: str) -> float | None:
    return getattr(record, name) if name in ("cost", "rebuilt") else record.metrics[name]
