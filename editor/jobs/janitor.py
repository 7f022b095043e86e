"""Keeps the disk from filling up: results are deleted by age and by disk budget, and nothing half-made stays."""

import logging
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from editor.events import EditError
from editor.jobs import files
from editor.jobs.store import Store
from editor.jobs.timing import Timing
from editor.media.ffmpeg import SCRATCH
from editor.settings import Settings

log = logging.getLogger(__name__)


class Janitor:
    """A thread that sweeps at start and then now and again. Waiting and running jobs are never touched."""

    def __init__(self, store: Store, settings: Settings, timing: Timing) -> None:
        self.store = store
        self.settings = settings
        self.timing = timing
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a sweep in progress is not waited for."""
        self._leaving.set()

    def sweep(self) -> None:
        """One round. The row of a job goes first, so that nobody is shown a job whose files are going."""
        now = time.time()
        self.store.forget_reservations(now - self.timing.reservation)
        for job_id in self.store.ended_before(now - self.settings.keep_hours * 3600):
            self._remove(job_id, "by age")
        self._keep_budget()
        self._remove_strays()
        remove_older(files.upload_folder(self.settings), now - self.timing.raw_upload)
        remove_older(files.temporary_folder(self.settings), now - self.timing.upload)

    def _keep_budget(self) -> None:
        """Remove finished jobs, oldest first, until the folders of all jobs fit the budget."""
        sizes = {folder.name: files.size(folder) for folder in self._folders()}
        excess = sum(sizes.values()) - self.settings.disk_budget_mb * 10**6
        for job_id in self.store.ended_before(float("inf")):
            if excess <= 0:
                return
            if self._remove(job_id, "for space"):
                excess -= sizes.get(job_id, 0)

    def _remove_strays(self) -> None:
        """Folders without a job: a server died between removing the row and the files, or while taking an upload.

        The folders are listed first: whatever is in that list had its row before its folder.
        """
        folders = self._folders()
        known = self.store.all_ids()
        for folder in folders:
            if folder.name not in known:
                files.remove(folder)

    def _remove(self, job_id: str, why: str) -> bool:
        """Remove one finished job. False when it is not finished or already gone."""
        if not self.store.forget(job_id):
            return False
        log.info("removing job %s %s", job_id, why)
        files.remove_job(self.settings.data, job_id)
        return True

    def _folders(self) -> list[Path]:
        return list((self.settings.data / "jobs").iterdir())

    def _serve(self) -> None:
        remove_empty_scratch(Path(tempfile.gettempdir()), time.time() - self.timing.raw_upload)
        while not self._leaving.is_set():
            try:
                self.sweep()
            except (OSError, sqlite3.Error, EditError):
                if not self._leaving.is_set():
                    log.exception("the janitor failed; continuing")
            self._leaving.wait(self.timing.sweep)


def remove_empty_scratch(folder: Path, before: float) -> None:
    """Remove the empty folders in which ffmpeg ran when an earlier server was killed. Younger ones may be in use."""
    for path in folder.glob(f"{SCRATCH}*"):
        try:
            if path.lstat().st_mtime < before:
                path.rmdir()  # fails, as it should, for anything but an empty folder
        except OSError:
            continue


def remove_older(folder: Path, before: float) -> None:
    """Remove files below `folder` not touched since `before`, and folders that are empty and as old.

    Gradio copies results with their old modification time; the change time tells when the copy was made.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside a folder comes before the folder
        try:
            state = path.lstat()
            if max(state.st_mtime, state.st_ctime) >= before:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # not empty, or just removed by Gradio's own cleaning
            continue
