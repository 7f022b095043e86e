"""`python -m editor demo render | sample | check | examples`: the built-in world, and what its model makes of it."""

import argparse
import json
import sys
from pathlib import Path

from editor.demo.vocabulary import COLORS, LOOKS, PLACES, SUBJECTS, caption, unknown_words
from editor.demo.world import SIZE, Scene, render
from editor.events import EditError

FPS = 8  # frames per second of rendered clips


def main(argv: list[str]) -> int:
    """Run one demo command; returns the exit code. Raises `EditError` for what a person can mend."""
    args = _parser().parse_args(argv)
    return {"render": _render, "sample": _sample, "check": _check, "examples": _examples}[args.command](args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m editor demo", description="The built-in world and its model.")
    commands = parser.add_subparsers(dest="command", required=True)
    drawn = commands.add_parser("render", help="Draw a clip of the world.")
    drawn.add_argument("--subject", required=True, help=", ".join(SUBJECTS))
    drawn.add_argument("--color", help=f"For subjects that can be painted: {', '.join(COLORS)}")
    drawn.add_argument("--place", default="grass", help=", ".join(PLACES))
    drawn.add_argument("--look", default="plain", help=", ".join(LOOKS))
    drawn.add_argument("--seed", type=int, default=0, help="Seed for motion, camera and scenery.")
    drawn.add_argument("--frames", type=int, default=24, help=f"Number of frames, at {FPS} per second.")
    drawn.add_argument("--size", type=int, default=SIZE, help="Side in pixels, a multiple of 8.")
    drawn.add_argument("--out", type=Path, required=True, help="The video to write (.mp4).")
    sampled = commands.add_parser("sample", help="Generate one picture from a prompt.")
    sampled.add_argument("prompt")
    sampled.add_argument("--steps", type=int, default=25)
    sampled.add_argument("--guidance", type=float, default=5.0)
    sampled.add_argument("--seed", type=int, default=0, help="Seed for the noise.")
    sampled.add_argument("--out", type=Path, required=True, help="The picture to write (.png).")
    checked = commands.add_parser("check", help="Measure the built-in model against its goals.")
    checked.add_argument("--json", action="store_true", help="Print one JSON object instead of a table.")
    checked.add_argument("--out", type=Path, default=Path("results/check"), help="Folder of the report.")
    made = commands.add_parser("examples", help="Make the edits that the page shows first again.")
    made.add_argument("--draw", action="store_true", help="Draw the clips again as well.")
    return parser


def _render(args: argparse.Namespace) -> int:
    scene = Scene(args.subject, args.color, args.place, args.look, args.seed)
    frames, _ = render(scene, args.frames, args.size)
    from editor.media import write_video

    write_video(frames, FPS, _writable(args.out, ".mp4"))
    print(f"{args.out}: {caption(scene)}")
    return 0


def _sample(args: argparse.Namespace) -> int:
    for name, low in (("steps", 1), ("guidance", 0), ("seed", 0)):
        if not getattr(args, name) >= low:
            raise EditError(f"{name} is {getattr(args, name)}. Allowed: {low} or more.")
    unknown = unknown_words(args.prompt)
    if unknown:
        known = ", ".join([*SUBJECTS, *COLORS, *PLACES.values()])
        print(f"The built-in model has never seen: {', '.join(unknown)}. It knows: {known}.", file=sys.stderr)
    out = _writable(args.out, ".png")
    from PIL import Image

    from editor.demo.model import DemoModel
    from editor.media.files import replacing

    picture = DemoModel.load().generate([args.prompt], args.steps, args.guidance, args.seed)[0]
    with replacing(out) as temporary:
        Image.fromarray(picture).save(temporary)
    print(out)
    return 0


def _check(args: argparse.Namespace) -> int:
    from editor.demo.check import GOALS, check
    from editor.demo.model import DemoModel

    results = check(DemoModel.load(), args.out)
    if args.json:
        print(json.dumps(results))
        return 0
    for name, (sense, goal) in GOALS.items():
        met = results[name] >= goal if sense == "at least" else results[name] <= goal
        print(f"{name:22} {results[name]:8.3f}   {sense} {goal:g}   {'reached' if met else 'NOT REACHED'}")
    for name, value in results["judge"].items():
        print(f"judge {name}: {value}")
    print(f"{results['bytes'] / 1e6:.1f} MB, largest file {results['largest_file'] / 1e6:.1f} MB; sheets in {args.out}")
    return 0


def _examples(args: argparse.Namespace) -> int:
    from editor.console import quiet_libraries
    from editor.demo.examples import make_examples

    quiet_libraries()
    for file in make_examples(lambda text: print(text, file=sys.stderr), draw=args.draw):
        print(file)
    return 0


def _writable(path: Path, suffix: str) -> Path:
    """`path`, with its folder made. Raises `EditError` where nothing can be written or the ending does not fit."""
    if path.suffix.lower() != suffix:
        raise EditError(f"The output is '{path}'. Its name must end in {suffix}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if path.stat().st_size == 0:
            path.unlink()
    except OSError as error:
        raise EditError(f"'{path}' cannot be written: {error.strerror}. Choose another place with --out.") from error
    return path
