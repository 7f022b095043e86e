"""What memory there is, and how many frames pass the UNet at once in it. Imports torch only where a device is asked."""

import ctypes
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CGROUP = Path("/sys/fs/cgroup")
SHARE = 0.8
"""Of what is free so much is planned with: kernels want workspaces, and the allocator has gaps."""
PER_CELL = 26
"""Values held per cell and channel of the UNet's first level while a row of a frame passes, as `machine.shapes` counts
on true shapes: Stable Diffusion 1.5 at 64 x 64 cells and 320 channels takes 68 MB in half precision."""
CPU_WORKSPACE = 1.85
"""How many times as much the process holds on a CPU, whose convolutions copy what they read: 0.25 GB measured where
0.136 GB are counted."""
SMALLEST_WINDOW, LARGEST_WINDOW = 4, 32
"""Frames that pass at once unless asked otherwise. More gain nothing: dense attention costs with their square."""
CPU_WINDOW = 16
"""The same on a CPU, for clips that do not pass at once: with 32, the holes that windows leave in the heap took the
peak of 480 keyframes to 1.36 times that of 80; with 16 it is 1.08, for an eighth more processor time before writing."""
BESIDE = 2
"""What a step keeps of other windows, in frames: the keys and values of two frames and of the anchors."""


def row_bytes(cells: int, channels: int, itemsize: int, cpu: bool) -> float:
    """Bytes that one row of a frame of `cells` latent cells takes while it passes a UNet of so many `channels`."""
    return cells * channels * itemsize * PER_CELL * (CPU_WORKSPACE if cpu else 1)


def window_size(free: float | None, rows: int, row: float, frames: int, cpu: bool) -> int:
    """How many of `frames` pass at once where `free` bytes are left and each of `rows` rows of one takes `row` bytes.

    Where nothing is known of the memory it is the largest window.
    """
    room = LARGEST_WINDOW if free is None else int(SHARE * free / (rows * row)) - BESIDE
    most = max(SMALLEST_WINDOW, min(LARGEST_WINDOW, room))
    return min(frames, most) if frames <= most or not cpu else min(most, CPU_WINDOW)


def free_on(device: "torch.device") -> float | None:
    """Bytes that an edit could have on `device`, with what PyTorch holds there unused; None where nothing tells."""
    import torch

    if device.type == "cpu":
        return free_here()
    try:
        free, _ = torch.accelerator.get_memory_info(device)
        return free + torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(device)
    except (RuntimeError, NotImplementedError, AttributeError) as error:  # a device that does not count
        log.info("Planning with the free main memory, since %s does not tell of its own: %s", device.type, error)
        return free_here()


def free_here() -> float | None:
    """Bytes of main memory that are free; in a container its limit counts. None where the system does not tell."""
    try:
        free = psutil.virtual_memory().available
    except psutil.Error:
        return None
    limit = _container_room()
    return free if limit is None else min(free, limit)


def _container_room() -> float | None:
    """What the container may still take (cgroup v2); None without a limit."""
    try:
        most = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, another system, or "max"
        return None
    return most - used


def give_back() -> None:
    """Return what was freed to the system, where it does not happen by itself.

    The C library of Linux keeps freed blocks of up to 32 MB. Between windows of different sizes they leave holes, which
    came to more than what was in use after some hundred keyframes. Does nothing where there is another C library.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, TypeError, OSError):  # another system or C library
        return
