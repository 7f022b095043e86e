"""The interval of a normalised clip that is edited: which frames, at which rate, with which sound."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from editor.events import EditError
from editor.media.ffmpeg import run
from editor.media.probe import UNREADABLE, Limits, Probe, input_arguments, probe

DEFAULT_FPS = 8.0
"""Frames edited per second unless asked otherwise; a slower source keeps its own rate."""


@dataclass(frozen=True)
class Interval:
    """Which frames of a normalised clip are edited: `indices[i]` is shown from `i / fps` on, for `1 / fps` seconds."""

    start: float
    end: float
    fps: float
    """Frames per second of the edited clip, chosen so that `len(indices) / fps` is exactly `end - start`."""
    indices: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class Clip:
    """Frames to edit and everything needed to give the result the source's length, size and sound."""

    frames: np.ndarray
    """uint8 (F, H, W, 3), RGB."""
    fps: float
    """Edited frames per second; F / fps is the interval's duration."""
    start: float
    """Seconds of the source clip."""
    end: float
    duration: float
    source_fps: float
    source_seconds: float
    source_size: tuple[int, int]
    """Width and height in pixels."""
    audio: Path | None
    """The normalised file, where it has sound; the interval's sound lies between `start` and `end` of it."""
    notes: tuple[str, ...]
    """What was left out or chosen automatically, and why, in sentences for a person."""


def plan_interval(source: Probe, start: float, end: float | None, fps: float | None, max_frames: int) -> Interval:
    """Choose the frames to edit.

    Without `end` the interval runs to the clip's end, or to where `max_frames` are used up, and that is noted. With
    `end` but without `fps`, a rate low enough for `max_frames` is chosen and noted. With both, an interval that needs
    more than `max_frames` raises `EditError`, and so does an empty one or one that leaves the clip.
    """
    if max_frames < 1:
        raise EditError(f"At most {max_frames} frames were asked for; at least 1 is needed.")
    stop = _checked_end(source, start, end)
    rate, notes = _rate(source, fps)
    count = max(1, round((stop - start) * rate))
    if count > max_frames:
        if end is not None and fps is not None:
            raise EditError(
                f"{stop - start:g} s at {rate:g} frames per second is {count} frames; the limit is {max_frames}. "
                f"Choose an interval of at most {max_frames / rate:.2g} s, fewer frames per second, or more frames."
            )
        if end is None:
            stop = start + max_frames / rate
            notes += (
                f"Edited from {start:.4g} s to {stop:.4g} s of {source.seconds:.4g} s: {max_frames} frames at "
                f"{rate:.4g} a second is the most that was asked for.",
            )
        else:
            rate = max_frames / (stop - start)
            notes += (
                f"Edited at {rate:.3g} frames per second, so that {max_frames} frames cover {stop - start:.4g} s.",
            )
        count = max_frames
    step = (stop - start) / count
    indices = tuple(_frame_at(source, start + i * step) for i in range(count))
    return Interval(start, stop, count / (stop - start), indices, notes)


def _checked_end(source: Probe, start: float, end: float | None) -> float:
    """Where the interval ends. Up to one source frame past the clip's end is the rounding of a form, not a mistake."""
    if not math.isfinite(start) or (end is not None and not math.isfinite(end)):
        raise EditError(f"The interval from {start} s to {end} s is not valid: both ends must be numbers of seconds.")
    length = f"the clip is {source.seconds:.4g} s long"
    if start < 0:
        raise EditError(f"The interval begins at {start:g} s; it must begin at 0 s or later.")
    if start >= source.seconds:
        raise EditError(f"The interval begins at {start:g} s, but {length}. Choose an earlier start.")
    if end is None:
        return source.seconds
    if end <= start:
        raise EditError(f"The interval from {start:g} s to {end:g} s is empty: the end must come later; {length}.")
    if end > source.seconds + 1 / source.fps:
        raise EditError(f"The interval ends at {end:g} s, but {length}. Choose an earlier end.")
    return min(end, source.seconds)


def _rate(source: Probe, fps: float | None) -> tuple[float, tuple[str, ...]]:
    """The rate to edit at, and a note where it is not the one asked for."""
    if fps is None:
        return min(source.fps, DEFAULT_FPS), ()
    if not math.isfinite(fps) or fps <= 0:
        raise EditError(f"{fps} frames per second cannot be edited. Choose a number above 0.")
    if fps > source.fps:
        return source.fps, (f"Edited at {source.fps:g} frames per second, not {fps:g}: the clip has no more.",)
    return fps, ()


def _frame_at(source: Probe, seconds: float) -> int:
    """The frame that a player shows at a time; the small share keeps 0.3 * 10 from falling to frame 2."""
    return min(int(seconds * source.fps + 1e-3), source.frames - 1)


def read_clip(
    normalised: Path,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
    max_frames: int = 16,
) -> Clip:
    """Read the frames to edit from a file that `normalise` wrote. Times in seconds; rules as in `plan_interval`."""
    source = probe(normalised)
    interval = plan_interval(source, start, end, fps, max_frames)
    return Clip(
        frames=read_frames(normalised, source, interval.indices, source.size),
        fps=interval.fps,
        start=interval.start,
        end=interval.end,
        duration=interval.duration,
        source_fps=source.fps,
        source_seconds=source.seconds,
        source_size=source.size,
        audio=normalised if source.has_audio else None,
        notes=interval.notes,
    )


def read_thumbnails(
    normalised: Path,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
    max_frames: int = 16,
    height: int = 72,
) -> tuple[np.ndarray, Interval]:
    """The frames that `read_clip` would give, uint8 (F, height, w, 3), and the interval they stand for."""
    source = probe(normalised)
    interval = plan_interval(source, start, end, fps, max_frames)
    width = max(1, round(source.size[0] * height / source.size[1]))
    return read_frames(normalised, source, interval.indices, (width, height)), interval


def read_frames(normalised: Path, source: Probe, indices: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Frames by number, rising and perhaps repeated, as uint8 (len(indices), H, W, 3) of `size` (width, height)."""
    first, wanted = indices[0], sorted(set(indices))
    picked = "+".join(f"eq(n,{i - first})" for i in wanted)
    width, height = size
    flags = "lanczos+accurate_rnd+full_chroma_int"
    frame_bytes = width * height * 3

    def read(stream: IO[bytes]) -> bytes:
        return stream.read(frame_bytes * len(wanted))

    outcome = run(
        [
            *("-loglevel", "error", "-ss", f"{max(0.0, (first - 0.5) / source.fps):.6f}"),
            *(*input_arguments(normalised, Limits()), "-map", "0:v:0", "-fps_mode", "passthrough"),
            *("-vf", f"select='{picked}',scale={width}:{height}:flags={flags}", "-frames:v", str(len(wanted))),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"),
        ],
        read=read,
    )
    if outcome.code != 0 or len(outcome.output) != frame_bytes * len(wanted):
        raise EditError(UNREADABLE)
    decoded = np.frombuffer(outcome.output, np.uint8).reshape(len(wanted), height, width, 3)
    rows = {index: row for row, index in enumerate(wanted)}
    return decoded[[rows[i] for i in indices]]
