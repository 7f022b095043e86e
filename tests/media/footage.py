"""Small clips made with ffmpeg for the tests, and what a test wants to know about a file that was written."""

import subprocess
from pathlib import Path

import numpy as np

from editor.media import ffmpeg_path
from editor.media.ffmpeg import run

MOVING = "testsrc=size=64x48:rate=10:duration=1"
TONE = "sine=frequency=440:duration=1"
# Frame N is a flat grey of level 40 + 15 N, so that a frame tells its number after any coding.
COUNTING = "nullsrc=size=64x48:rate=10:duration=1,geq=lum='40+15*N':cb=128:cr=128"
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac")


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg without any bound; the test fails with its log when it fails."""
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def lavfi(source: str) -> tuple[str, ...]:
    """Arguments that make ffmpeg draw its input."""
    return ("-f", "lavfi", "-i", source)


def moving(path: Path, *arguments: str | Path, source: str = MOVING) -> Path:
    """One second of moving picture, H.264 unless `arguments` say otherwise."""
    ffmpeg(*lavfi(source), *(arguments or H264), path)
    return path


def talking(path: Path, *arguments: str, source: str = MOVING, tone: str = TONE) -> Path:
    """One second of picture with sound."""
    ffmpeg(*lavfi(source), *lavfi(tone), *H264, *AAC, *arguments, path)
    return path


def summary(path: Path) -> str:
    """ffmpeg's description of a file."""
    return run(["-i", f"file:{path}"]).log


def duration_of(path: Path) -> float:
    """Seconds that a player would show."""
    text = summary(path).split("Duration: ")[1].split(",")[0]
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def loudness(path: Path) -> np.ndarray:
    """Root mean square of the sound in windows of 50 ms, of full scale 1: (windows,)."""
    raw = run(["-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", "16000", "-f", "f32le", "pipe:1"]).output
    samples = np.frombuffer(raw, np.float32)
    windows = samples[: len(samples) // 800 * 800].reshape(-1, 800)
    return np.sqrt((windows**2).mean(axis=1))


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers of frames that were drawn by `COUNTING`."""
    grey = frames.reshape(len(frames), -1).mean(axis=1)
    luma = grey * 219 / 255 + 16  # full range back to the levels of the drawing
    return [round((level - 40) / 15) for level in luma]
