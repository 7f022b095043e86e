"""What an edit costs: work in UNet evaluations, wall time against the bare UNet, peak memory, true shapes; and how many
edits several workers finish.

All figures are ratios or counts within one run, so that they mean the same on any machine.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from editor.events import EditError
from editor.settings import ROOT

TOPICS = ("work", "speed", "memory", "shapes", "scale")

BOUNDS: dict[str, float] = {
    "presets.paper.unet_evaluations_per_frame": 504.0,
    "presets.balanced.unet_evaluations_per_frame": 31.0,
    "presets.fast.unet_evaluations_per_frame": 24.0,
    "presets.balanced.second_target": 20.0,
    "presets.fast.second_target": 20.0,
    "wall_ratio": 1.15,
    "memory_ratio.dense": 2.1,
    "memory_ratio.keyframes": 1.15,
    "memory_ratio.length": 1.2,
    "memory_ratio.wall": 1.1,
    "carrying.seconds": 0.15,
    "scale.ray_overhead": 1.1,
}
"""Figure -> the most it may be."""


def measure(say: Callable[[str], None], topics: Sequence[str] = TOPICS) -> dict[str, Any]:
    """Measure the `topics`; `say` hears what is being done. Figures that were not asked for are left out."""
    from editor.machine.cost import carrying_cost, length_ratios, memory_ratio, wall_ratios
    from editor.machine.work import count_work, run_true_shapes

    figures: dict[str, Any] = {}
    if "work" in topics:
        figures["presets"] = count_work(say)
    if "speed" in topics:
        figures |= wall_ratios(say)
        figures["carrying"] = carrying_cost(say)
    if "memory" in topics:
        figures["memory_ratio"] = memory_ratio(say) | length_ratios(say)
    if "shapes" in topics:
        figures["shapes"] = run_true_shapes(say)
    if "scale" in topics:
        figures["scale"] = _scale(say)
    return figures


def _scale(say: Callable[[str], None]) -> dict[str, Any]:
    """Edits per minute on one and on two workers, measured by the job service in a process of its own."""
    say("edits on one worker and on two")
    command = [sys.executable, "-m", "editor.jobs.scale"]
    outcome = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if outcome.returncode != 0:
        raise EditError("The measuring process failed; its own words stand above.")
    return json.loads(outcome.stdout)


def table(figures: dict[str, Any]) -> str:
    """The figures one a line, with the bound and whether it is kept where there is one."""
    lines = []
    for name, value in _flat(figures):
        bound = BOUNDS.get(name)
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        verdict = "" if bound is None else f"  at most {bound:g}: {'ok' if value <= bound else 'EXCEEDED'}"
        lines.append(f"{name:<48} {shown:>12}{verdict}")
    return "\n".join(lines)


def _flat(figures: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested figures as ("presets.paper.second_target", value) pairs."""
    pairs: list[tuple[str, Any]] = []
    for name, value in figures.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, value))
    return pairs
