"""Peak memory of one dense denoising step, beyond weights, frames and trajectory, each measured in its own process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from editor.events import EditError
from editor.machine.speed import Bout
from editor.method.inversion import Trajectory
from editor.method.sampling import sample_edit
from editor.request import EditRequest
from editor.settings import ROOT

FRAMES = (8, 16)
CELLS = 32  # per side, 256 pixels at SD 1.5's factor


def memory_ratio(say: Callable[[str], None], shape: str = "sd15", cells: int = CELLS) -> dict[str, float]:
    """`dense`: the peak of 16 frames over that of 8, all self-attention dense; and both peaks in megabytes."""
    peaks = []
    for frames in FRAMES:
        say(f"peak memory of {frames} frames, dense, shape {shape}, {cells} x {cells} latents")
        command = [sys.executable, "-m", "editor.machine.memory", shape, str(frames), str(cells)]
        outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            raise EditError(f"The measuring process failed: {outcome.stderr.strip()[-300:]}")
        peaks.append(int(outcome.stdout.split()[-1]))
    few, many = FRAMES
    megabytes = {f"peak_mb_{n}_frames": peak / 1e6 for n, peak in zip(FRAMES, peaks, strict=True)}
    return {"dense": peaks[FRAMES.index(many)] / peaks[FRAMES.index(few)], **megabytes}


def peak_of_one_step(shape: str, frames: int, cells: int) -> int:
    """Bytes that one controlled, guided step with dense attention needs at its peak, beyond what was there before."""
    prompts = {"source": "a red car on the road", "targets": ("a blue car on the road",)}
    request = EditRequest.from_preset("balanced", **prompts, steps=1, frame_attention="dense", dense_layers="all")
    bout = Bout(request, shape, frames)
    latents = torch.randn(frames, bout.unet.config.in_channels, cells, cells)
    trajectory = Trajectory(torch.stack([latents, latents]), 0.0)
    resident = _reset_peak()
    sample_edit(bout.unet, bout.schedule, trajectory, [bout.plan], bout.text, request)
    return _status("VmHWM") - resident


def _reset_peak() -> int:
    """Make the kernel forget the peak so far; returns the resident bytes now. Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise EditError("Peak memory can be measured on Linux only: /proc/self/clear_refs is needed.") from error
    return _status("VmRSS")


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.stdout.write(f"{peak_of_one_step(sys.argv[1], *map(int, sys.argv[2:]))}\n")
