"""The command line: python -m editor edit | explain | doctor | bench | evaluate | demo | jobs.

Results go to standard output, everything said on the way to standard error. Exit codes: 0 done, 1 could not be done
(one sentence says why), 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from editor import explain
from editor.console import ProgressBar, quiet_libraries
from editor.events import EditError, EditResult
from editor.flags import add_request_flags, numbers_lines, request_from
from editor.machine.bench import TOPICS as BENCH_TOPICS
from editor.manifest import read_settings
from editor.settings import Settings

INTERRUPTED = 130  # 128 + SIGINT, as shells report it

DELEGATED = {
    "evaluate": ("editor.evaluation.cli", "Measure quality against ground truth and write the report."),
    "demo": ("editor.demo.cli", "The built-in world: draw clips, train and check the built-in model."),
    "jobs": ("editor.jobs.cli", "The jobs of an installation: list, show, cancel, run again, export."),
}
"""Command -> the module whose `main(argv) -> int` runs it, imported only then."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` defaults to the process's arguments."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        if argv and argv[0] in DELEGATED:
            from importlib import import_module

            return import_module(DELEGATED[argv[0]][0]).main(argv[1:]) or 0
        args = _parser().parse_args(argv)
        return {"edit": _edit, "explain": _explain, "doctor": _doctor, "bench": _bench}[args.command](args)
    except EditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: unfinished results were discarded", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m editor", description="Edit a short clip with a sentence.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, text) in DELEGATED.items():
        commands.add_parser(name, help=text, add_help=False)
    edit = commands.add_parser("edit", help="Edit a clip: one folder of results per --target.")
    edit.add_argument("clip", type=Path, help="The video file.")
    edit.add_argument("--out", type=Path, default=Path("results"), help="Folder for the results (default results).")
    edit.add_argument(
        "--like",
        type=Path,
        metavar="FILE",
        help="Take the settings of an earlier edit: its manifest.json, edited.mp4 or GIF. Flags override them.",
    )
    edit.add_argument("--check", action="store_true", help="Also measure how well the clip itself is reconstructed.")
    edit.add_argument("--json", action="store_true", help="Print one JSON object instead of lines.")
    edit.add_argument("--no-cache", action="store_true", help="Neither read nor store cached inversions.")
    add_request_flags(edit)
    explain.add_flags(
        commands.add_parser("explain", help="Show how two sentences are read, and what follows from that.")
    )
    doctor = commands.add_parser("doctor", help="Report what this machine can do.")
    doctor.add_argument("--selftest", action="store_true", help="Test it: kernels, half precision, one edit, memory.")
    doctor.add_argument("--json", action="store_true", help="Print one JSON object instead of lines.")
    bench = commands.add_parser("bench", help="Measure work, speed and memory, as ratios within one run.")
    bench.add_argument("--only", nargs="+", choices=BENCH_TOPICS, default=BENCH_TOPICS, help="Parts to measure.")
    bench.add_argument("--json", action="store_true", help="Print one JSON object instead of a table.")
    return parser


def _edit(args: argparse.Namespace) -> int:
    """`python -m editor edit`: everything that can be refused cheaply is refused before torch is imported."""
    recalled = None if args.like is None else read_settings(existing(args.like))
    for complaint in recalled.complaints if recalled else ():
        print(f"{args.like}: {complaint}", file=sys.stderr)
    request = request_from(args, recalled and recalled.request)
    existing(args.clip)
    settings = Settings.from_env()
    quiet_libraries()
    from editor.diffusion.models import load_models
    from editor.pipeline import edit
    from editor.stages.cache import InversionCache
    from editor.stages.quality import load_score

    cache = None if args.no_cache else InversionCache(settings.data / "inversions", settings.cache_mb * 10**6)
    with ProgressBar(sys.stderr) as bar:
        for line in numbers_lines(request):
            bar.say(line)
        bar.say(f"loading model {request.model}")
        models = load_models(request.model, settings, vae=request.vae, loras=request.loras)
        options = {"cache": cache, "check": args.check, "previews": False, "score": load_score(settings.clip)}
        results = edit(args.clip, request, models, args.out, emit=bar, **options)
    if args.json:
        print(json.dumps({"results": [_json(r) for r in results]}))
    else:
        _print_lines(results)
    return 0


def existing(path: Path) -> Path:
    """`path`, if there is such a file. Raises `EditError`."""
    if not path.is_file():
        raise EditError(f"There is no file '{path}'. Give the path of a file.")
    return path


def _explain(args: argparse.Namespace) -> int:
    for line in explain.lines(args):
        print(line)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    quiet_libraries()
    from editor.machine import doctor

    more: list[doctor.Check] = []
    if args.selftest:
        from editor.machine import selftest

        more = selftest.CHECKS
    with ProgressBar(sys.stderr) as bar:
        report = doctor.examine(Settings.from_env(), more, bar.say)
    print(json.dumps(report.to_dict()) if args.json else report.text())
    return 0 if report.healthy else 1


def _bench(args: argparse.Namespace) -> int:
    quiet_libraries()
    from editor.machine import bench

    with ProgressBar(sys.stderr) as bar:
        figures = bench.measure(bar.say, args.only)
    print(json.dumps(figures) if args.json else bench.table(figures))
    return 0


def _json(result: EditResult) -> dict[str, object]:
    """One result as `--json` prints it."""
    files = {name: str(path) for name, path in result.files.items()}
    keys = ("unet_evaluations_per_frame", "vae_psnr", "reconstruction_psnr", "seconds")
    return {"target": result.target, **files, **{key: result.summary[key] for key in keys}}


def _print_lines(results: tuple[EditResult, ...]) -> None:
    for result in results:
        print(f"{result.target}: {result.edited}")
        for note in result.read_manifest()["notes"]:
            print(f"  {note}")
