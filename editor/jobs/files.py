"""Where the files of a job are, and how they come and go.

data/jobs.sqlite               the store
data/jobs/<id>/clip.mp4        the normalised upload
data/jobs/<id>/preview.webp    the latest preview
data/jobs/<id>/run-<n>/        what the n-th run writes; visible only once the store names it as the result
data/tmp/uploads/<id>/<name>   an upload as it came, until it is read
data/tmp/                      normalised clips of forms, before they become jobs
"""

import logging
import os
import re
import shutil
from pathlib import Path

from editor.settings import Settings

log = logging.getLogger(__name__)

CLIP = "clip.mp4"
_ID = re.compile(r"[0-9a-f]{32}")


def prepare(data: Path) -> None:
    """Create the folders, readable by the server's user only."""
    for folder in (data, data / "jobs", data / "tmp"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def temporary_folder(settings: Settings) -> Path:
    """Where the page keeps clips on their way in; the janitor empties it by age."""
    return settings.data / "tmp"


def upload_folder(settings: Settings) -> Path:
    """Where uploads arrive, each in a folder of its own; the janitor empties it within minutes."""
    return temporary_folder(settings) / "uploads"


def is_id(job_id: object) -> bool:
    """Whether this has the form of a job's id; what comes from outside may be anything."""
    return isinstance(job_id, str) and _ID.fullmatch(job_id) is not None


def job_folder(data: Path, job_id: str) -> Path:
    """The folder of one job. Raises `ValueError` for anything that is not an id: it would name another place."""
    if not is_id(job_id):
        raise ValueError(f"not a job id: {job_id!r}")
    return data / "jobs" / job_id


def clip(data: Path, job_id: str) -> Path:
    """The normalised upload."""
    return job_folder(data, job_id) / CLIP


def preview(data: Path, job_id: str) -> Path:
    """The latest preview."""
    return job_folder(data, job_id) / "preview.webp"


def run_folder(data: Path, job_id: str, run: int) -> Path:
    """What run number `run` writes into."""
    return job_folder(data, job_id) / f"run-{run}"


def open_run(data: Path, job_id: str, run: int) -> Path:
    """A fresh folder for one run, with the clip in it. Leftovers of earlier runs go."""
    for old in job_folder(data, job_id).glob("run-*"):
        remove(old)
    folder = run_folder(data, job_id, run)
    folder.mkdir()
    share(clip(data, job_id), folder / CLIP)
    return folder


def close_run(folder: Path, keep: bool) -> None:
    """Drop the run's clip, or the whole folder when its results are not kept."""
    if keep:
        (folder / CLIP).unlink(missing_ok=True)
    else:
        remove(folder)


def share(source: Path, target: Path) -> None:
    """The same bytes at a second place: a hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def remove_job(data: Path, job_id: str) -> None:
    """Remove everything of one job. What cannot be removed is logged, and tried again by the janitor."""
    remove(job_folder(data, job_id))


def remove(path: Path) -> None:
    """Remove a file or a folder; what is already gone is fine."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except OSError:
        log.warning("could not remove %s", path, exc_info=True)


def size(folder: Path) -> int:
    """Bytes of all files below `folder`; files that vanish meanwhile count nothing."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size
        except FileNotFoundError:
            continue
    return total


def free_mb(data: Path) -> int:
    """Free space of the disk that holds `data`, in megabytes."""
    return shutil.disk_usage(data).free // 10**6
