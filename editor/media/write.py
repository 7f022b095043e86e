"""Frames -> files that play in a browser. Each is written beside its name, checked, and then moved there."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from editor.events import DISK_FULL, EditError
from editor.media.compose import GAP, even, resized
from editor.media.ffmpeg import Bounds, run
from editor.media.files import replacing, scratch
from editor.media.probe import BT709, Limits, input_arguments

PREVIEW_BYTES = 150_000
"""Most bytes of a preview: one may be sent every second to everybody who watches."""
PREVIEW_FRAMES = 16
"""Most frames of a preview; of a longer clip every second, third ... is shown, for as long."""
PREVIEW_TRIES = ((256, 70), (256, 45), (256, 20), (192, 20), (128, 10), (96, 1))
"""Longer side of each half in pixels and WebP quality, tried in turn until the file is small enough."""

GIF_TRIES = ((480, 12.5), (400, 12.5), (320, 10), (240, 10), (160, 5), (96, 2))
"""Longer side in pixels and frames per second, tried in turn until the file is small enough."""


@dataclass(frozen=True)
class AudioSpan:
    """The sound of a normalised file from `start` on, for `seconds`; silence follows where it ends earlier."""

    path: Path
    start: float
    seconds: float


def write_video(
    frames: np.ndarray,
    fps: float,
    path: Path,
    audio: AudioSpan | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """Write uint8 (F, H, W, 3) frames as H.264, yuv420p, even size, BT.709, with the index in front, and AAC sound.

    It plays F / fps seconds, to the millisecond. `size` (width, height) scales the frames, by default they keep theirs;
    an odd side grows by one pixel. Raises `EditError` when the disk is full or the written file does not decode.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"frames must be uint8 (F, H, W, 3) with F > 0, not {frames.dtype} {frames.shape}")
    with video_writer(path, fps, audio) as put:
        for frame in resized(frames, size) if size else frames:
            put(frame)


@contextmanager
def video_writer(path: Path, fps: float, audio: AudioSpan | None = None) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that takes the frames of a video one by one, uint8 (H, W, 3) of one size; see `write_video`.

    The file is there when the block ends well. Raises `EditError` as `write_video` does.
    """
    with replacing(path) as temporary:
        if audio is None:
            with _encoder(temporary, fps, None) as encoder:
                yield encoder.put
        else:
            with scratch(path.with_suffix(".wav")) as sound:
                _cut_sound(audio, sound)
                with _encoder(temporary, fps, sound) as encoder:
                    yield encoder.put
        _verify(temporary, encoder.frames, audio is not None)


class _Encoder:
    """Feeds moviepy's writer frame by frame, and starts it when the first one tells the size."""

    def __init__(self, path: Path, fps: float, sound: Path | None) -> None:
        self.path, self.fps, self.sound = path, fps, sound
        self.frames = 0
        self.writer = None

    def put(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        frame = np.ascontiguousarray(even(frame[None])[0])
        if self.writer is None:
            self.writer = _moviepy_writer(self.path, frame.shape[1::-1], self.fps, self.sound)
        self.writer.write_frame(frame)
        self.frames += 1


@contextmanager
def _encoder(path: Path, fps: float, sound: Path | None) -> Iterator[_Encoder]:
    """An encoder into `path`, closed at the end. A full disk is told as the operating system would."""
    encoder = _Encoder(path, fps, sound)
    try:
        try:
            yield encoder
        finally:
            if encoder.writer is not None:
                encoder.writer.close()
    except OSError as error:
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _moviepy_writer(path: Path, size: tuple[int, int], fps: float, sound: Path | None) -> "FFMPEG_VideoWriter":  # noqa: F821
    """moviepy's writer for frames of `size` (width, height).

    moviepy rounds the rate to two decimals, hence the exact times set by a filter. Its `write_videofile` asks a clip
    for frames at rounded times, which repeats or drops some; writing them one by one cannot.
    """
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    parameters = [
        *("-vf", f"settb=1/90000,setpts=N*90000/{fps!r},scale=out_color_matrix=bt709:out_range=tv,{BT709}"),
        *("-r", f"{fps!r}", "-fps_mode", "cfr"),
        *("-crf", "17", "-g", "24", "-map_metadata", "-1", "-movflags", "+faststart"),
    ]
    return FFMPEG_VideoWriter(
        str(path.absolute()),
        size,
        max(fps, 0.01),
        preset="fast",
        audiofile=str(sound.absolute()) if sound else None,
        audio_codec="aac",
        threads=2,
        ffmpeg_params=parameters,
    )


def _cut_sound(audio: AudioSpan, path: Path) -> None:
    """Exactly `audio.seconds` of sound as a WAV file, filled up with silence."""
    outcome = run(
        [
            *("-y", "-loglevel", "error", "-ss", f"{audio.start:.6f}", *input_arguments(audio.path, Limits())),
            *("-map", "0:a:0", "-af", "aresample=48000:async=1:first_pts=0,apad", "-t", f"{audio.seconds:.6f}"),
            *("-ac", "2", "-c:a", "pcm_s16le", "-f", "wav", f"file:{path.absolute()}"),
        ]
    )
    if "No space left" in outcome.log:
        raise EditError(DISK_FULL)
    if outcome.code != 0:
        raise EditError("The clip's sound could not be read. Please upload the clip again.")


def _verify(path: Path, frames: int, sound: bool) -> None:
    """Decode the whole file; raise `EditError` unless it has every frame, its sound and no fault."""
    outcome = run(
        [
            *("-loglevel", "error", "-nostats", "-progress", "pipe:1", *input_arguments(path, Limits(pixels=2**26))),
            *("-map", "0:v:0", *(("-map", "0:a:0") if sound else ()), "-fps_mode", "passthrough", "-f", "null", "-"),
        ],
        Bounds(wall_seconds=600.0),  # a minute of video, on a machine that is busy with edits
    )
    found = int(outcome.progress().get("frame", 0))
    if outcome.code != 0 or outcome.log.strip() or found != frames:
        raise EditError(
            f"The finished video does not play: {found} of {frames} frames. Perhaps the disk is full. Please try again."
        )


def write_poster(frame: np.ndarray, path: Path, side: int = 640) -> None:
    """A frame (H, W, 3) as a WebP picture, its longer side at most `side` pixels."""
    small = resized(frame[None], fitted(frame[None], side))
    with replacing(path) as temporary:
        Image.fromarray(small[0]).save(temporary, format="WEBP", quality=85)


def write_preview(original: np.ndarray, guess: np.ndarray, path: Path, fps: float = 8.0) -> None:
    """A looping animated WebP, `original | guess`, both uint8 (F, H, W, 3) of equal shape, `fps` of them a second.

    Small enough to be sent once a second: see `PREVIEW_BYTES`, `PREVIEW_FRAMES` and `PREVIEW_TRIES`.
    """
    if original.shape != guess.shape:
        raise ValueError(f"a preview needs equal shapes, not {original.shape} and {guess.shape}")
    stride = -(-len(original) // PREVIEW_FRAMES)
    left, right = original[::stride], guess[::stride]
    with replacing(path) as temporary:
        for side, quality in PREVIEW_TRIES:
            _write_loop(left, right, temporary, round(1000 * stride / fps), side, quality)
            if temporary.stat().st_size <= PREVIEW_BYTES:
                break


def _write_loop(left: np.ndarray, right: np.ndarray, path: Path, milliseconds: int, side: int, quality: int) -> None:
    size = fitted(left, side)
    gap = np.full((len(left), size[1], GAP, 3), 255, np.uint8)
    halves = np.concatenate([resized(left, size), gap, resized(right, size)], axis=2)
    first, *others = [Image.fromarray(picture) for picture in halves]
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
        quality=quality,
        method=2,
        format="WEBP",
    )


def video_gif(path: Path, most: int) -> bytes:
    """A video of ours as a GIF of at most `most` bytes that loops, as large and as smooth as `GIF_TRIES` allow.

    Raises `EditError` when even the smallest is too large or the video cannot be read.
    """
    for side, fps in GIF_TRIES:
        fitting = f"scale='if(gt(iw,ih),min({side},iw),-2)':'if(gt(iw,ih),-2,min({side},ih))':flags=lanczos"
        colours = "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer:bayer_scale=4"
        made = run(
            [
                *("-loglevel", "error", *input_arguments(path, Limits())),
                *("-filter_complex", f"[0:v]fps={fps},{fitting},{colours}", "-loop", "0", "-f", "gif", "pipe:1"),
            ],
            read=lambda stream: stream.read(most + 1),
        )
        if 0 < len(made.output) <= most:
            if made.code != 0:
                break
            return made.output
    raise EditError("This video cannot be made into a GIF that is small enough.")


def fitted(frames: np.ndarray, side: int) -> tuple[int, int]:
    """Width and height that bring the longer side of (F, H, W, 3) down to `side`, never up."""
    _, height, width, _ = frames.shape
    scale = min(1.0, side / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
