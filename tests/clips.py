"""Small clips drawn for tests, written as a camera's file would be."""

import subprocess
from pathlib import Path

import numpy as np

from editor.media import ffmpeg_path, write_video


def moving_square(frames: int = 8, width: int = 48, height: int = 32) -> np.ndarray:
    """A red square that crosses a shaded ground: uint8 (frames, height, width, 3)."""
    ground = np.linspace(40, 160, width, dtype=np.uint8)[None, None, :, None]
    pictures = np.broadcast_to(ground, (frames, height, width, 3)).copy()
    side = height // 3
    for i in range(frames):
        left = round(i * (width - side) / max(1, frames - 1))
        pictures[i, side : 2 * side, left : left + side] = (210, 40, 30)
    return pictures


def write_clip(path: Path, frames: np.ndarray | None = None, fps: float = 8.0, sound: bool = False) -> Path:
    """Write `frames` (default: `moving_square()`) to `path`, with a tone when `sound`."""
    frames = moving_square() if frames is None else frames
    write_video(frames, fps, path)
    if sound:
        silent = path.with_name("silent-" + path.name)
        path.rename(silent)
        tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={len(frames) / fps}"]
        command = [ffmpeg_path(), "-v", "error", "-i", str(silent), *tone, "-c:v", "copy", "-c:a", "aac", str(path)]
        subprocess.run(command, check=True)
        silent.unlink()
    return path
