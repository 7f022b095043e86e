"""What a terminal shows: a progress bar, fed by the events of an edit, and what is logged."""

import json
import logging
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TextIO

from editor.events import Event, Progress, Stage

NAMES = {
    Stage.PREPARE: "reading the clip",
    Stage.ENCODE: "encoding",
    Stage.INVERT: "inverting",
    Stage.NULL_TEXT: "fitting null text",
    Stage.EDIT: "editing",
    Stage.DECODE: "decoding",
    Stage.WRITE: "writing",
}
WIDTH = 24
REDRAW_SECONDS = 0.1


class ProgressBar:
    """An `emit` that draws. On a terminal one line is redrawn; elsewhere every stage gets a plain line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self._stage: Stage | None = None
        self._done = 0
        self._drawn = 0.0
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_line()

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Progress):
            return
        new_stage, complete = event.stage != self._stage, event.done >= event.total
        self._stage = event.stage
        if self.live:
            if new_stage or complete or time.monotonic() - self._drawn > REDRAW_SECONDS:
                self.stream.write(f"\r\x1b[2K{line(event)}")
                self._drawn, self._open = time.monotonic(), True
        elif new_stage or (event.message and event.done != self._done):
            self.stream.write(line(event) + "\n")
        self._done = event.done
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line of its own."""
        self._end_line()
        self.stream.write(text + "\n")
        self.stream.flush()

    def _end_line(self) -> None:
        if self._open:
            self.stream.write("\n")
            self._open = False


def line(event: Progress) -> str:
    """`editing            [############------------] 12/25  1:05 left`."""
    filled = round(WIDTH * event.done / max(1, event.total))
    bar = "#" * filled + "-" * (WIDTH - filled)
    left = "" if event.seconds_left is None else f"  {clock(event.seconds_left)} left"
    message = f"  {event.message}" if event.message else ""
    return f"{NAMES[event.stage]:<18} [{bar}] {event.done}/{event.total}{left}{message}"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class JsonLines(logging.Formatter):
    """Every record as one line of JSON: `time` (UTC), `level`, `logger`, `process`, `message`, and `error` if any."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "process": self.process}
        line["message"] = record.getMessage()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_terminal(process: str = "server", form: str = "text") -> None:
    """Log our own messages, and the warnings and errors of libraries, to standard error.

    `form` is `Settings.log`. The text of every process but the server begins with its name.
    """
    name = "" if process == "server" else f"{process}: "
    plain = logging.Formatter(f"%(asctime)s {name}%(message)s", "%H:%M:%S")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(process) if form == "json" else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("editor").setLevel(logging.INFO)


def quiet_libraries() -> None:
    """Keep the progress bars and notices of diffusers and transformers out of the terminal; their errors stay."""
    # xformers warns on import where it cannot serve, and diffusers imports it everywhere
    logging.getLogger("xformers").setLevel(logging.ERROR)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
