"""Which devices of this machine compute: one slot and one worker process each."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from editor.events import EditError
from editor.settings import Settings

log = logging.getLogger(__name__)

SINGLE = "device"
"""The slot of an installation with one device, which `EDITOR_DEVICE` chooses."""
_MOST = 64
_COUNT = "import torch; print(torch.cuda.device_count())"
_PATIENCE = 120.0


@dataclass(frozen=True)
class Device:
    """One device as a worker process gets it: the slot's name, what `EDITOR_DEVICE` is there, and its environment."""

    slot: str
    kind: str
    env: Mapping[str, str] = field(default_factory=dict)


def devices(settings: Settings) -> tuple[Device, ...]:
    """The devices that `EDITOR_DEVICES` names, each once. Raises `EditError` for a name that is none.

    `auto` is every CUDA device that PyTorch finds, or else the one that `EDITOR_DEVICE` chooses.
    """
    names = [name for text in settings.devices for name in _expand(text)]
    if not names:
        return (Device(SINGLE, settings.device),)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise EditError(f"EDITOR_DEVICES names {', '.join(doubled)} more than once. Name every device once.")
    share = {} if len(names) == 1 else {"OMP_NUM_THREADS": str(max(1, cores() // len(names)))}
    return tuple(_device(name, share) for name in names)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lock_name(slot: str) -> str:
    """The slot's name as part of a file's name, on every system."""
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in slot)


def _expand(text: str) -> list[str]:
    """The slots that one part of `EDITOR_DEVICES` stands for: `cpu:2` are two workers, `cuda:2` is the third card."""
    kind, _, number = text.partition(":")
    if text == "auto":
        return [f"cuda:{n}" for n in range(_cuda_devices())]
    if text in ("cpu", "mps"):
        return [text]
    if kind in ("cpu", "cuda") and number.isascii() and number.isdigit() and int(number) <= _MOST:
        if kind == "cuda":
            return [f"cuda:{int(number)}"]
        if int(number) > 0:
            return [f"cpu:{n}" for n in range(int(number))]
    raise EditError(
        f"EDITOR_DEVICES names '{text}'. Allowed, comma-separated: auto, cuda:0 and so on, mps, cpu, or cpu:2 for two "
        "workers on the processor."
    )


def _device(slot: str, share: Mapping[str, str]) -> Device:
    """What the worker of `slot` is started with. It sees only its own card, so nothing in it has to know a number."""
    kind, _, number = slot.partition(":")
    env = {name: value for name, value in share.items() if name not in os.environ}
    if kind == "cuda":
        visible = [card.strip() for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card.strip()]
        if visible and int(number) >= len(visible):
            raise EditError(f"EDITOR_DEVICES names {slot}, but CUDA_VISIBLE_DEVICES shows {len(visible)}.")
        env["CUDA_VISIBLE_DEVICES"] = visible[int(number)] if visible else number
    return Device(slot, kind, env)


def _cuda_devices() -> int:
    """How many CUDA devices PyTorch finds, asked in another process: this one never loads torch."""
    try:
        out = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, timeout=_PATIENCE)
        found = int(out.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        log.warning("PyTorch did not say how many CUDA devices there are; one worker is used")
        return 0
    log.info("EDITOR_DEVICES=auto: PyTorch finds %d CUDA devices", found)
    return found
