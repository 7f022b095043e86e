"""From an upload to a job's clip, before the job may wait: whoever sent something unusable is told at once."""

import threading
from pathlib import Path

from editor.events import EditError
from editor.jobs import files
from editor.media import Limits, normalise, plan_interval, probe
from editor.request import EditRequest
from editor.settings import Settings

_AT_ONCE = 2
_PATIENCE = 60.0


class Intake:
    """Normalises uploads, few at a time: ffmpeg must not take the processor from the running edit."""

    def __init__(self, settings: Settings) -> None:
        self._limits = Limits.from_settings(settings)
        self._turn = threading.BoundedSemaphore(_AT_ONCE)

    def normalise(self, raw: Path, clip: Path, request: EditRequest) -> None:
        """Write `raw` as `clip`. `raw` is read by a bounded process only and never copied. Raises `EditError`."""
        if not self._turn.acquire(timeout=_PATIENCE):
            raise EditError("Many clips are being uploaded at this moment. Please try again in a minute.")
        try:
            clip.parent.mkdir(mode=0o700, exist_ok=True)
            source = normalise(raw, clip, self._limits)
        finally:
            self._turn.release()
        plan_interval(source, request.start, request.end, request.fps, request.max_frames)

    def reuse(self, other: Path, clip: Path, request: EditRequest) -> None:
        """Take a clip that was normalised before, as a link. Raises `EditError`."""
        clip.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            files.share(other, clip)
        except FileNotFoundError:
            raise EditError("The clip is no longer kept. Please upload it again.") from None
        plan_interval(probe(clip), request.start, request.end, request.fps, request.max_frames)
