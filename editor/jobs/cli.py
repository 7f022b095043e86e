"""The command `python -m editor jobs`: the jobs of an installation, for the person who runs it.

It works on the store in `EDITOR_DATA`, beside a running server or without one, and asks for no owner's secret.
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from editor.events import EditError
from editor.jobs.store import Store
from editor.jobs.view import JobState, JobView
from editor.options import quoted
from editor.settings import Settings

_SHORT = 8
"""Characters of an id that `list` shows; so many or more name a job."""


def main(argv: list[str]) -> int:
    """Run the command. Returns 0. Raises `EditError` for a person."""
    args = _parser().parse_args(argv)
    data = Settings.from_env().data
    if not (data / "jobs.sqlite").is_file():
        raise EditError(f"There is no job store in {data}. Set EDITOR_DATA to the data folder of an installation.")
    store = Store(data)
    try:
        _COMMANDS[args.command](store, args)
    finally:
        store.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m editor jobs", description="The jobs of the installation in EDITOR_DATA."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    listing = commands.add_parser("list", help="All jobs, newest first.")
    listing.add_argument("--state", choices=[str(state) for state in JobState], help="Only those in this state.")
    showing = commands.add_parser("show", help="Everything about one job.")
    for command in (listing, showing):
        command.add_argument("--json", action="store_true", help="Print JSON instead of lines.")
    cancel = commands.add_parser("cancel", help="Stop a waiting or running job.")
    retry = commands.add_parser("retry", help="Put a failed or cancelled job back into the queue.")
    export = commands.add_parser("export", help="Copy a job's clip, results and description to a folder.")
    export.add_argument("--out", type=Path, default=Path("."), help="Where the folder is made (default: here).")
    for command in (showing, cancel, retry, export):
        command.add_argument("job", help=f"Its id, or the first {_SHORT} characters or more.")
    return parser


def _list(store: Store, args: argparse.Namespace) -> None:
    jobs = [job for job in store.everything() if args.state in (None, str(job.state))]
    if args.json:
        print(json.dumps([_described(job) for job in jobs]))
        return
    for job in jobs:
        print(f"{job.id[:_SHORT]}  {job.state:<9}  {_age(job):>7}  {job.device or '-':<10}  {_sentence(job)}")


def _show(store: Store, args: argparse.Namespace) -> None:
    described = _described(_named(store, args.job))
    if args.json:
        print(json.dumps(described))
        return
    for name, value in described.items():
        print(f"{name:<10} {json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value}")


def _cancel(store: Store, args: argparse.Namespace) -> None:
    job = _named(store, args.job)
    if job.state.final:
        raise EditError(f"The job {job.id} is {job.state} already.")
    store.stop(job.id)
    print(f"{job.id} {'is stopping' if job.state is JobState.RUNNING else 'cancelled'}")


def _retry(store: Store, args: argparse.Namespace) -> None:
    job = _named(store, args.job)
    store.retry(job.id)
    print(f"{job.id} waits at place {store.view(job.id).position}")


def _export(store: Store, args: argparse.Namespace) -> None:
    job = _named(store, args.job)
    folder = args.out / f"recast-{job.id[:_SHORT]}"
    if folder.exists():
        raise EditError(f"{folder} exists already. Remove it, or choose another place with --out.")
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(_described(job), indent=1, ensure_ascii=False), encoding="utf-8")
    if job.clip:
        shutil.copyfile(job.clip, folder / job.clip.name)
    for number, result in enumerate(job.results):
        (folder / str(number)).mkdir()
        for path in result.files.values():
            if path.is_file():
                shutil.copyfile(path, folder / str(number) / path.name)
            else:
                print(f"warning: {path.name} of result {number} is gone", file=sys.stderr)
    print(folder)


_COMMANDS = {"list": _list, "show": _show, "cancel": _cancel, "retry": _retry, "export": _export}


def _named(store: Store, text: str) -> JobView:
    """The job whose id begins with `text`. Raises `EditError` where that is none or several."""
    found = [job for job in store.everything() if len(text) >= _SHORT and job.id.startswith(text)]
    if len(found) != 1:
        many = f"{len(found)} jobs begin with" if found else "No job has the id"
        raise EditError(f"{many} '{quoted(text)}'. `python -m editor jobs list` shows the ids.")
    return found[0]


def _described(job: JobView) -> dict[str, Any]:
    """The job as plain JSON values; files by their paths, unknown values left out."""
    values = {name: value for name, value in asdict(job).items() if value not in (None, "", ()) and name != "mine"}
    values["results"] = [
        {"target": result.target, "summary": result.summary, "files": {k: str(p) for k, p in result.files.items()}}
        for result in job.results
    ]
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _age(job: JobView) -> str:
    """How long ago it came."""
    minutes = (time.time() - job.created) / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.0f} h"


def _sentence(job: JobView) -> str:
    return quoted(f"{job.request.get('source', '')} -> {', '.join(map(str, job.request.get('targets', ())))}")
