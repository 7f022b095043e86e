"""What people and programs are told about a job: frozen snapshots, safe to hand to any thread."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from editor.events import EditError, EditResult, Stage


class JobState(StrEnum):
    """Where a job is. The last three are final: such a job never changes again."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True when the job will not change any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class JobView:
    """One job as it is now. Paths are absolute, times are Unix seconds."""

    id: str
    """Unguessable name of the job; whoever knows it may look, see `?job=<id>`."""
    state: JobState
    request: dict[str, Any]
    """`EditRequest.to_dict()`; `EditRequest.from_dict` reads it back."""
    mine: bool
    """True when the asker gave the owner's secret: only then `cancel` and `delete` are allowed."""
    created: float
    started: float | None = None
    """When the present (or last) run began; None while it waits."""
    ended: float | None = None
    stage: Stage | None = None
    done: int = 0
    """Finished units of `total` of the stage."""
    total: int = 0
    seconds_left: float | None = None
    """For the whole edit; None when unknown."""
    message: str = ""
    """A sentence for a person about the present moment, e.g. that the job was started again. May be empty."""
    device: str | None = None
    """The device it runs or last ran on; None while it waits."""
    devices: int = 1
    """How many devices compute for this server now."""
    position: int | None = None
    """Place among the waiting jobs, 1 = next; None when the job does not wait."""
    wait: float | None = None
    """Seconds until a waiting job probably starts, in steps of five; None when unknown."""
    stopping: bool = False
    """True between a cancel and its effect."""
    clip: Path | None = None
    """The normalised upload (H.264 mp4); None when its file is gone."""
    preview: Path | None = None
    """Small animated webp, original beside the present guess. The path stays, the content changes."""
    preview_version: int = 0
    """Grows whenever `preview` has new content; 0 before the first."""
    results: tuple[EditResult, ...] = ()
    """One per target prompt, in the request's order; empty unless the state is done."""
    error: str | None = None
    """Why it failed, for a person; None unless the state is failed."""


@dataclass(frozen=True)
class WorkerHealth:
    """One device and what computes on it."""

    device: str
    state: str
    """`idle` (not started yet, or waiting), `busy`, `silent` (no heartbeat) or `stopped`."""
    heartbeat_age: float | None
    """Seconds since the worker was last heard; None when none is running."""


@dataclass(frozen=True)
class Health:
    """Whether this server can work. `ok` is what `/healthz` answers: false when a restart would help, because no
    worker can compute though its device is there."""

    ok: bool
    worker: str
    """The state of all workers in a word: `busy` when one is, `stopped` or `silent` when none can compute, `absent`
    when a cluster has no node."""
    workers: tuple[WorkerHealth, ...]
    queued: int
    running: int
    free_disk_mb: int
    accepting: bool
    """False while the server shuts down or the disk is too full for new jobs."""


class UnknownJob(EditError):
    """No job has this id: it never existed, was deleted, or has expired."""
