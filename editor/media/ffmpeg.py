"""The one place that starts ffmpeg for reading: by full path, under resource limits, in an empty folder, with a clock.

Only the binary that imageio-ffmpeg ships is used, so nothing depends on what is on PATH.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from editor.events import EditError

UNREADABLE = "The clip could not be read. Please upload it again."
LAUNCHER = Path(__file__).with_name("launcher.py")
# Windows has no names for these, and never reports them.
_SIGKILL, _SIGXCPU, _SIGXFSZ = (getattr(signal, name, 99) for name in ("SIGKILL", "SIGXCPU", "SIGXFSZ"))
_ARGUMENTS = ("-nostdin", "-hide_banner")
SCRATCH = "recast-"
"""How the names of the empty folders begin that ffmpeg runs in."""
LOG_BYTES = 64 * 1024
"""How much of the beginning and of the end of ffmpeg's log is kept; a damaged file can fill gigabytes."""


@dataclass(frozen=True)
class Bounds:
    """What one ffmpeg process may use."""

    cpu_seconds: int = 60
    wall_seconds: float = 120.0
    memory_bytes: int = 4 * 2**30
    """Address space. Not on macOS, whose kernel does not hold a process to it."""
    file_bytes: int = 200 * 2**20
    descriptors: int = 64


@dataclass(frozen=True)
class FfmpegExit:
    """How an ffmpeg process ended: exit code (minus the signal that ended it), its log, what was read from it."""

    code: int
    log: str
    timed_out: bool
    output: bytes

    @property
    def disk_full(self) -> bool:
        """Whether a write failed for lack of space."""
        return self.code != 0 and "No space left on device" in self.log

    @property
    def out_of_time(self) -> bool:
        """Whether the clock or the limit on processor time stopped it."""
        return self.timed_out or self.code in (-_SIGXCPU, -_SIGKILL)

    @property
    def file_too_large(self) -> bool:
        """Whether what it wrote met the limit on file size."""
        return self.code == -_SIGXFSZ or (self.code != 0 and "File too large" in self.log)

    @property
    def stopped(self) -> bool:
        """Whether a limit ended it, so that trying again in another way is of no use."""
        return self.disk_full or self.out_of_time or self.file_too_large

    def progress(self) -> dict[str, str]:
        """The last values that `-progress pipe:1` reported, e.g. frame, dup_frames."""
        lines = self.output.decode(errors="replace").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}


def ffmpeg_path() -> str:
    """Full path of the ffmpeg binary; `EditError` where imageio-ffmpeg has none for this machine."""
    import imageio_ffmpeg

    try:
        return str(Path(imageio_ffmpeg.get_ffmpeg_exe()).resolve())
    except RuntimeError as error:
        raise EditError("ffmpeg is missing on this machine. Install it with: pip install imageio-ffmpeg") from error


def run(
    arguments: Sequence[str],
    bounds: Bounds | None = None,
    read: Callable[[IO[bytes]], bytes] = lambda stream: stream.read(),
) -> FfmpegExit:
    """Run ffmpeg with `arguments`, which name files in full, and wait for its end.

    `read` takes what is wanted from its standard output; whatever it leaves is dropped. The process is ended when the
    clock runs out or when `read` raises.
    """
    bounds = bounds or Bounds()
    with TemporaryDirectory(prefix=SCRATCH) as empty:
        command = [*_limited(bounds), ffmpeg_path(), *_ARGUMENTS, *arguments]
        process = _started(command, empty)
        return _attend(process, bounds.wall_seconds, read)


def stream(arguments: Sequence[str], size: int, bounds: Bounds | None = None) -> Iterator[bytes]:
    """Run ffmpeg and yield its standard output in pieces of `size` bytes, as fast as they are taken.

    There is no clock, because whoever takes them may be slow; processor time and memory stay bounded. The process ends
    with the iterator. Raises `EditError` when ffmpeg fails.
    """
    with TemporaryDirectory(prefix="recast-") as empty:
        process = _started([*_limited(bounds or Bounds()), ffmpeg_path(), *_ARGUMENTS, *arguments], empty)
        log = bytearray()
        drain = threading.Thread(target=_drain, args=(process.stderr, log), daemon=True)
        try:
            drain.start()
            while len(piece := process.stdout.read(size)) == size:
                yield piece
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            drain.join()
    if code != 0:
        raise EditError(UNREADABLE)


def _started(command: Sequence[str], folder: str) -> subprocess.Popen:
    """A process of its own session in an empty folder, with nothing of this one's environment."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _attend(process: subprocess.Popen, seconds: float, read: Callable[[IO[bytes]], bytes]) -> FfmpegExit:
    """Read a process to its end, its log aside in a thread: a full pipe that nobody drains stops ffmpeg for ever."""
    log = bytearray()
    late = threading.Event()
    clock = threading.Timer(seconds, lambda: (late.set(), process.kill()))
    drain = threading.Thread(target=_drain, args=(process.stderr, log), daemon=True)
    try:
        clock.start()
        drain.start()
        output = read(process.stdout)
        process.stdout.close()
        code = process.wait()
        drain.join()
    finally:
        clock.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    return FfmpegExit(code, log.decode(errors="replace"), late.is_set(), output)


def _drain(stream: IO[bytes], log: bytearray) -> None:
    """Read `stream` to its end into `log`, of which the first and the last `LOG_BYTES` are kept."""
    with stream:
        while chunk := stream.read(8192):
            log += chunk
            if len(log) > 3 * LOG_BYTES:
                del log[LOG_BYTES : len(log) - LOG_BYTES]


def _limited(bounds: Bounds) -> list[str]:
    """The command in front of ffmpeg that puts the limits on it."""
    if os.name != "posix":
        return []
    limits = {
        "cpu": bounds.cpu_seconds,
        "file_size": bounds.file_bytes,
        "descriptors": bounds.descriptors,
        "core": 0,
    }
    if sys.platform != "darwin":
        limits["address_space"] = bounds.memory_bytes
    settings = [f"{name}={value}" for name, value in limits.items()]
    return [sys.executable, "-I", "-S", str(LAUNCHER), *settings, "--"]


def _environment(home: str) -> dict[str, str]:
    """An environment with nothing of the caller's but where Python finds its libraries."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, "HOME": home, "TMPDIR": home, "LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}
