"""The interval of a normalised clip that is edited: its frames, its keyframes, and its sound."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from editor.events import EditError
from editor.media.ffmpeg import stream
from editor.media.probe import UNREADABLE, Limits, Probe, input_arguments, probe

if TYPE_CHECKING:
    from editor.motion import Keyframes  # loads OpenCV, which only the reading of clips needs

KEY_FPS = 8.0
"""Keyframes per second unless asked otherwise; a slower source has as many as frames."""
MOST = 480
"""Keyframes at most unless asked otherwise: a minute of them. More only takes longer."""


@dataclass(frozen=True)
class Interval:
    """Which frames of a normalised clip become the result, all of them at the clip's own rate `fps`.

    They are `count` from frame `first` on. Every `stride`-th is a keyframe at least, which is what the model edits.
    """

    first: int
    count: int
    fps: float
    stride: int
    notes: tuple[str, ...] = field(default=())

    @property
    def start(self) -> float:
        """Seconds."""
        return self.first / self.fps

    @property
    def end(self) -> float:
        """Seconds."""
        return (self.first + self.count) / self.fps

    @property
    def keyframes(self) -> tuple[int, ...]:
        """Numbers in the clip of the keyframes that there are at least; cuts and fast motion add more."""
        last = self.first + self.count - 1
        return (*range(self.first, last, self.stride), last)


@dataclass(frozen=True)
class Clip:
    """What to edit and everything needed to give the result the source's rate, length, size and sound.

    Frames come from the file one by one: those of a minute at the clip's own size would fill the memory.
    """

    keyframes: "Keyframes"
    """Which of the interval's frames they are, counted from its first."""
    fps: float
    """Frames per second of the clip and of the result."""
    first: int
    """Number of the interval's first frame in the clip."""
    source_seconds: float
    source_size: tuple[int, int]
    """Width and height in pixels."""
    path: Path | None = None
    """The normalised file; None where `drawn` are all frames."""
    drawn: np.ndarray | None = None
    """uint8 (F, H, W, 3), RGB, of a clip that is in no file."""
    audio: Path | None = None
    """The same, where it has sound; the interval's sound lies between `start` and `end` of it."""
    notes: tuple[str, ...] = ()
    """What was left out or chosen automatically, and why, in sentences for a person."""

    @property
    def count(self) -> int:
        """Frames of the interval, so of the result."""
        return self.keyframes.frames

    @property
    def start(self) -> float:
        """Seconds of the source clip."""
        return self.first / self.fps

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.count / self.fps

    @property
    def end(self) -> float:
        """Seconds of the source clip."""
        return self.start + self.duration

    def every_frame(self) -> Iterator[np.ndarray]:
        """All frames of the interval at the clip's size, uint8 (H, W, 3), one by one."""
        if self.drawn is not None:
            return iter(self.drawn)
        return stream_frames(self.path, self.fps, self.first, self.count, self.source_size)

    def key_frames(self) -> Iterator[np.ndarray]:
        """The keyframes at the clip's size, uint8 (H, W, 3), one by one."""
        wanted = set(self.keyframes.indices)
        return (frame for i, frame in enumerate(self.every_frame()) if i in wanted)

    @cached_property
    def frames(self) -> np.ndarray:
        """The keyframes at once, uint8 (K, H, W, 3): for short clips only."""
        return np.stack(list(self.key_frames()))


def plan_interval(
    source: Probe, start: float = 0.0, end: float | None = None, key_fps: float = KEY_FPS, max_frames: int = MOST
) -> Interval:
    """Choose the frames of the result and the distance of its keyframes.

    Without `end` the interval runs to the clip's end, or to where `max_frames` keyframes are used up, and that is
    noted. With `end` keyframes move apart until they are enough, and that is noted. An empty interval, one that leaves
    the clip, or one that so few keyframes cannot cover raises `EditError`.
    """
    if max_frames < 1:
        raise EditError(f"At most {max_frames} keyframes were asked for; at least 1 is needed.")
    if not (math.isfinite(key_fps) and key_fps > 0):
        raise EditError(f"{key_fps} keyframes per second cannot be edited. Choose a number above 0.")
    stop = _checked_end(source, start, end)
    first = _frame_at(source, start)
    count = max(1, min(round((stop - start) * source.fps), source.frames - first))
    stride = max(1, round(source.fps / key_fps))
    if 1 + math.ceil((count - 1) / stride) <= max_frames:
        return Interval(first, count, source.fps, stride)
    if end is None:
        fitting = Interval(first, (max_frames - 1) * stride + 1, source.fps, stride)
        note = f"Edited from {fitting.start:.4g} s to {fitting.end:.4g} s of {source.seconds:.4g} s: {max_frames} "
        return replace(fitting, notes=(f"{note}keyframes is the limit that was set.",))
    if max_frames == 1:
        raise EditError(f"{count} frames need 2 keyframes or more. Choose a shorter interval or more keyframes.")
    wider = math.ceil((count - 1) / (max_frames - 1))
    note = (
        f"A keyframe every {wider / source.fps:.2g} s, so that {max_frames} of them cover {count / source.fps:.4g} s."
    )
    return Interval(first, count, source.fps, wider, (note,))


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


def _frame_at(source: Probe, seconds: float) -> int:
    """The frame that a player shows at a time; the small share keeps 0.3 * 10 from falling to frame 2."""
    return min(int(seconds * source.fps + 1e-3), source.frames - 1)


def read_clip(
    normalised: Path,
    start: float = 0.0,
    end: float | None = None,
    key_fps: float = KEY_FPS,
    max_frames: int = MOST,
) -> Clip:
    """Choose keyframes in a file that `normalise` wrote. Times in seconds; rules as in `plan_interval`.

    Cuts and fast motion may need more keyframes than the interval has at least: without `end` it is shortened to what
    `max_frames` are enough for, otherwise that raises `EditError`.
    """
    from editor.motion.keyframes import PLANNING_SIDE, choose_keyframes

    source = probe(normalised)
    interval = plan_interval(source, start, end, key_fps, max_frames)
    small = _scaled(source.size, PLANNING_SIDE)
    looked_at = stream_frames(normalised, source.fps, interval.first, interval.count, small)
    keyframes = choose_keyframes(looked_at, interval.stride, max_frames)
    notes = interval.notes + _limit_notes(keyframes, interval, end, max_frames)
    return Clip(
        keyframes=keyframes,
        fps=source.fps,
        first=interval.first,
        source_seconds=source.seconds,
        source_size=source.size,
        path=normalised,
        audio=normalised if source.has_audio else None,
        notes=notes,
    )


def _limit_notes(keyframes: "Keyframes", interval: Interval, end: float | None, most: int) -> tuple[str, ...]:
    """What to say where the clip's cuts and motion need more keyframes than are allowed."""
    if keyframes.frames == interval.count:
        more = f"{keyframes.left_out} more keyframes would follow the clip's motion better; {most} is the limit."
        return (more,) if keyframes.left_out else ()
    reach = keyframes.frames / interval.fps
    if end is not None:
        raise EditError(
            f"With its cuts the interval needs {keyframes.left_out + most} keyframes; the limit is {most}, which is "
            f"enough for {reach:.3g} s. Choose a shorter interval or more keyframes."
        )
    return (f"Edited {reach:.4g} s only: the clip's cuts need more than {most} keyframes for the rest.",)


def read_thumbnails(
    normalised: Path,
    start: float = 0.0,
    end: float | None = None,
    key_fps: float = KEY_FPS,
    max_frames: int = MOST,
    height: int = 72,
) -> tuple[np.ndarray, Interval]:
    """The keyframes that there are at least, uint8 (K, height, w, 3), and the interval they stand for."""
    source = probe(normalised)
    interval = plan_interval(source, start, end, key_fps, max_frames)
    return _pictures(normalised, source, interval.keyframes, height), interval


def spread_frames(
    normalised: Path, count: int, height: int | None = None, start: float = 0.0, end: float | None = None
) -> np.ndarray:
    """`count` frames, or as many as there are, evenly spread from `start` to `end` in seconds: uint8 (n, H, W, 3).

    `height` scales them; by default they keep their size.
    """
    source = probe(normalised)
    stop = _checked_end(source, start, end)
    first, last = _frame_at(source, start), _frame_at(source, stop - 0.5 / source.fps)
    picks = np.linspace(first, last, min(count, last - first + 1)).round().astype(int)
    return _pictures(normalised, source, tuple(int(i) for i in picks), height or source.size[1])


def _pictures(normalised: Path, source: Probe, numbers: Sequence[int], height: int) -> np.ndarray:
    """Frames by number, rising, `height` pixels high."""
    width = max(1, round(source.size[0] * height / source.size[1]))
    first, wanted = numbers[0], set(numbers)
    frames = stream_frames(normalised, source.fps, first, numbers[-1] - first + 1, (width, height))
    return np.stack([frame for i, frame in enumerate(frames, first) if i in wanted])


def stream_frames(normalised: Path, fps: float, first: int, count: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """`count` frames from frame `first` on, uint8 (H, W, 3) of `size` (width, height), one at a time.

    Raises `EditError` where the file has fewer.
    """
    width, height = size
    flags = "lanczos+accurate_rnd+full_chroma_int"
    arguments = [
        *("-loglevel", "error", "-ss", f"{max(0.0, (first - 0.5) / fps):.6f}"),
        *(*input_arguments(normalised, Limits()), "-map", "0:v:0", "-fps_mode", "passthrough"),
        *("-vf", f"scale={width}:{height}:flags={flags}", "-frames:v", str(count)),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"),
    ]
    frames = 0
    for raw in stream(arguments, width * height * 3):
        frames += 1
        yield np.frombuffer(raw, np.uint8).reshape(height, width, 3)
    if frames != count:
        raise EditError(UNREADABLE)


def _scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    """`size` with its longer side at most `side`."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
