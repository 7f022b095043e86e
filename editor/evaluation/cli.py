"""`python -m editor evaluate`: measure edits against ground truth, and write the report.

Without --all or --search a small part is measured again and compared with the committed results.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editor.console import quiet_libraries
from editor.evaluation.configurations import (
    FRAME_COUNTS,
    GRID,
    YARDSTICKS,
    Configuration,
    baselines,
    presets,
    read_grid,
)
from editor.evaluation.records import Record
from editor.evaluation.summary import summarise
from editor.evaluation.tasks import LISTED, Task, load_tasks
from editor.events import EditError
from editor.request import PRESETS

SUBSET = 8
"""Tasks of the report half that a run without --all measures anew: two clips, each kind of edit twice."""

SEEDED = 24
"""Tasks made with another seed that are measured unless told otherwise: six clips."""

CARRIED = 24
"""Tasks of the report half that are edited at full rate unless told otherwise: six clips."""

SEARCHED = 20
"""Tasks of the search half that a search uses unless told otherwise."""


def main(argv: list[str]) -> int:
    """Run the command. Returns 0, or 1 when results differ from the committed ones. Raises `EditError` for a person."""
    args = _parser().parse_args(argv)
    if args.workers < 1:
        raise EditError(f"workers is {args.workers}. Allowed: 1 or more; more than one per core gains nothing.")
    if args.score:
        return _score(args)
    if args.search and args.task_seed != LISTED:
        raise EditError("--search uses the listed tasks. Leave out --task-seed or --search.")
    tasks = load_tasks("search" if args.search else "report", _count(args), args.task_seed)
    quiet_libraries()
    from editor.evaluation.session import Evaluation  # needs torch, which `--help` and wrong flags do not

    evaluation = Evaluation.begin(args.model, args.out, args.clip, _say, args.task_seed)
    if args.search:
        return _search(args, evaluation, tasks)
    if args.full_rate:
        return _full_rate(args, evaluation, tasks)
    if args.report:
        committed = evaluation.of_repository()
        committed.report(_everything(committed.searched()), tasks)
        return 0
    chosen = _chosen(args, evaluation.searched())
    if not args.no_run:
        resumes = args.all or args.task_seed != LISTED
        evaluation.measure(chosen, tasks, args.workers, again=args.again or not resumes)
    results = evaluation.results(chosen, tasks)
    evaluation.report(chosen, tasks)
    _print({name: summarise(records) for name, records in results.items()}, args.json)
    if args.accept:
        evaluation.accept(results)
        return 0
    return _compare(evaluation, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m editor evaluate", description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", action="append", choices=tuple(PRESETS), help="Only this preset; may be repeated.")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="Only this preset or baseline; may be repeated."
    )
    parser.add_argument(
        "--tasks", type=int, metavar="N", help=f"Only the first N tasks (default {SUBSET}; --all: all)."
    )
    parser.add_argument(
        "--task-seed",
        type=int,
        default=LISTED,
        metavar="SEED",
        help=f"Generate other tasks with this seed, {SEEDED} of them unless --tasks is given (default: listed tasks).",
    )
    parser.add_argument("--model", default="demo", help="A catalog name or a checkpoint folder (default demo).")
    parser.add_argument("--json", action="store_true", help="Print one JSON object instead of a table.")
    parser.add_argument("--out", type=Path, default=Path("results/evaluation"), help="Folder for results and report.")
    parser.add_argument(
        "--all", action="store_true", help="All presets and baselines on all tasks; takes hours; resumable."
    )
    parser.add_argument(
        "--search", action="store_true", help="Measure a grid of settings on the search half; resumable."
    )
    parser.add_argument(
        "--full-rate",
        action="store_true",
        help="Edit every 3rd and 6th frame of 24, carry the rest, and compare with editing all; hours; resumable.",
    )
    parser.add_argument("--grid", type=Path, default=GRID, help="JSON list of settings to search (default: ours).")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="Number of processes (default 1; --full-rate uses 1)."
    )
    parser.add_argument("--again", action="store_true", help="Measure again even what has already been measured.")
    parser.add_argument("--no-run", action="store_true", help="Measure nothing; show existing results.")
    parser.add_argument(
        "--report", action="store_true", help="Measure nothing; write a report on the committed results."
    )
    parser.add_argument("--accept", action="store_true", help="Copy these results to assets/evaluation.")
    parser.add_argument("--clip", type=Path, metavar="FOLDER", help="Folder of a CLIP checkpoint, for CLIP scores.")
    parser.add_argument(
        "--score", type=Path, metavar="RESULT", help="Only print the CLIP scores of a finished edit, given its folder."
    )
    return parser


def _score(args: argparse.Namespace) -> int:
    """CLIP's scores of one finished edit, of any clip and any model."""
    if args.clip is None:
        raise EditError("--score needs the folder of a CLIP checkpoint: add --clip FOLDER.")
    quiet_libraries()
    from editor.evaluation.judging import score_result
    from editor.stages.quality import ClipScore

    scores = score_result(args.score, ClipScore(str(args.clip)))
    print(
        json.dumps(scores)
        if args.json
        else "  ".join(f"{k} {'-' if v is None else f'{v:.2f}'}" for k, v in scores.items())
    )
    return 0


def _chosen(args: argparse.Namespace, searched: Sequence[Mapping[str, Any]]) -> tuple[Configuration, ...]:
    """What was asked for by name, else the presets, with --all and what they are compared with."""
    everything = _everything(searched)
    names = (*(args.preset or ()), *(args.only or ()))
    unknown = sorted(set(names) - {c.name for c in everything})
    if unknown:
        raise EditError(
            f"There is no configuration {', '.join(unknown)}. Known: {', '.join(c.name for c in everything)}."
        )
    whole = args.all or args.no_run
    wanted = set(names) or ({c.name for c in everything} if whole else set(PRESETS))
    if not whole:
        wanted |= {c.name for c in YARDSTICKS if c.how in ("source", "vae", "truth")}
    return tuple(c for c in everything if c.name in wanted)


def _count(args: argparse.Namespace) -> int | None:
    """How many tasks; None: all there are."""
    if args.tasks is not None or args.report:
        return args.tasks
    if args.search or args.full_rate:
        return SEARCHED if args.search else CARRIED
    return None if args.all or args.no_run else SUBSET if args.task_seed == LISTED else SEEDED


def _everything(searched: Sequence[Mapping[str, Any]]) -> tuple[Configuration, ...]:
    """All that can be named."""
    return (*presets(), *baselines(searched), *FRAME_COUNTS)


def _search(
    args: argparse.Namespace,
    evaluation: "Evaluation",  # noqa: F821 - needs torch, imported late
    tasks: Sequence[Task],
) -> int:
    """Measure the grid and print its rows, for each preset those with the greatest gain first."""
    grid = read_grid(args.grid)
    rows = evaluation.search(grid, tasks, args.workers, args.again, run=not args.no_run)
    if args.accept:
        evaluation.accept({})
    if args.json:
        print(json.dumps({"search": rows}))
        return 0
    for row in rows:
        gained = "  ".join(f"{kind} {'-' if gain is None else f'{gain:+.1f}'}" for kind, gain in row["gains"].items())
        print(f"{row['name']:24} gain {gained}  {_numbers(row['summary'])}")
    return 0


def _full_rate(
    args: argparse.Namespace,
    evaluation: "Evaluation",  # noqa: F821 - needs torch, imported late
    tasks: Sequence[Task],
) -> int:
    """Few frames edited and the rest carried: the rows' means, and whether what was promised is kept."""
    from editor.diffusion.models import load_models
    from editor.evaluation import full_rate

    preset = (args.preset or ("balanced",))[0]
    place, models = evaluation.full_rate(preset), load_models(args.model)
    means = full_rate.summary(full_rate.measure(tasks, preset, models, place, _say, args.again).values())
    lines = full_rate.verdicts(means)
    if args.accept:
        evaluation.accept({})
    if args.json:
        print(json.dumps({"full_rate": means, "verdicts": lines}))
        return 0
    for name, row in means.items():
        print(f"{name:12} " + "  ".join(f"{k} {'-' if v is None else f'{v:.2f}'}" for k, v in row.items()))
    print("\n".join(lines))
    return 0


def _print(summaries: Mapping[str, Mapping[str, Any]], as_json: bool) -> None:
    """The table, or the object `presets.<name>.<number>`, `baselines.<name>.<number>`."""
    if as_json:
        groups = {"presets": {}, "baselines": {}}
        counts = {c.name for c in FRAME_COUNTS}
        for name, summary in summaries.items():
            if name not in counts:
                groups["presets" if name in PRESETS else "baselines"][name] = summary
        print(json.dumps(groups))
        return
    for name, summary in summaries.items():
        print(f"{name:24} {_numbers(summary)}")


def _numbers(summary: Mapping[str, Any]) -> str:
    """One line of a table."""
    flat = {key: value for key, value in summary.items() if key != "identification"} | summary["identification"]
    short = {"unet_evaluations_per_frame": "evaluations", "temporal_error": "temporal", "unchanged_psnr": "unchanged"}
    return "  ".join(f"{short.get(k, k)} {'-' if v is None else f'{v:.2f}'}" for k, v in flat.items())


def _compare(evaluation: "Evaluation", results: Mapping[str, Sequence[Record]]) -> int:  # noqa: F821
    """Report how the results agree with the committed ones."""
    if not evaluation.comparable:
        _say("The committed results are of the built-in model, so nothing was compared.")
        return 0
    compared, found = evaluation.compared(results)
    for sentence in found:
        _say(sentence)
    agree = f"{compared} results compared with the committed ones: "
    _say(agree + (f"differences: {len(found)}." if found else "all agree." if compared else "there are none yet."))
    return 1 if found else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
