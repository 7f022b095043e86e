"""What this machine can do, in words; `selftest` has the checks that prove it."""

import dataclasses
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import torch

from editor.console import clock
from editor.diffusion.catalog import CATALOG, present
from editor.diffusion.kernels import choose_kernel
from editor.diffusion.memory import LARGEST_WINDOW
from editor.diffusion.models import choose_device, choose_dtype, describe_device
from editor.events import EditError
from editor.machine.shapes import meta_parts
from editor.media import ffmpeg_path
from editor.method.branches import planned_evaluations
from editor.method.control import control, settled
from editor.method.flops import run_flops
from editor.reading import read_edit
from editor.request import EditRequest
from editor.settings import Settings, variable
from editor.stages.results import library_versions

LOW_DISK_MB = 2000  # a Hub checkpoint alone is larger
LOW_MEMORY_MB = 4000


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and whether that is all right (None: informational)."""

    name: str
    text: str
    ok: bool | None = None


@dataclass(frozen=True)
class Report:
    """All findings, in their order."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Nothing is wrong."""
        return all(f.ok is not False for f in self.findings)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {"healthy": self.healthy, "findings": [dataclasses.asdict(f) for f in self.findings]}

    def text(self) -> str:
        """One line per finding."""
        marks = {True: "ok  ", False: "BAD ", None: "    "}
        width = max(16, *(len(f.name) for f in self.findings))
        return "\n".join(f"{marks[f.ok]}{f.name:<{width}} {f.text}" for f in self.findings)


Check = Callable[[Settings], list[Finding]]


def examine(settings: Settings, more: Sequence[Check] = (), say: Callable[[str], None] = lambda text: None) -> Report:
    """Look at device, kernel, models, ffmpeg, disk, memory, cost and settings, then make the checks in `more`."""
    findings: list[Finding] = []
    for check in (_libraries, _device, _kernel, _models, _ffmpeg, _disk, _memory, _cost, _settings, *more):
        say(f"looking at {check.__name__.strip('_').replace('_', ' ')}")
        try:
            findings += check(settings)
        except EditError as error:
            findings.append(Finding(check.__name__.strip("_").replace("_", " "), str(error), False))
    return Report(tuple(findings))


def _libraries(settings: Settings) -> list[Finding]:
    versions = ", ".join(f"{name} {version or 'missing'}" for name, version in library_versions().items())
    return [Finding("libraries", f"{versions}, on {platform.system()} {platform.machine()}")]


def _device(settings: Settings) -> list[Finding]:
    device, why = choose_device(settings.device)
    dtype, why_dtype = choose_dtype(device, settings.dtype)
    return [
        Finding("device", f"{describe_device(device)}: {why}", True),
        Finding("precision", f"{str(dtype).removeprefix('torch.')}: {why_dtype}"),
    ]


def _kernel(settings: Settings) -> list[Finding]:
    device, _ = choose_device(settings.device)
    kernel = choose_kernel(device, choose_dtype(device, settings.dtype)[0], settings.attention)
    return [Finding("attention kernel", f"{kernel.name}: {kernel.reason}", True)]


def _models(settings: Settings) -> list[Finding]:
    findings = []
    for name, entry in CATALOG.items():
        here = present(name)
        way = f"downloaded from the Hub ({entry.repo}) on first use" if entry.repo else "its files are missing"
        # the built-in model has to be there; the others can be fetched
        ok = here or (None if entry.repo else False)
        findings.append(Finding(f"model {name}", f"{entry.title}: {'on this machine' if here else way}", ok))
    return findings


def _ffmpeg(settings: Settings) -> list[Finding]:
    return [Finding("ffmpeg", ffmpeg_path(), True)]


def _disk(settings: Settings) -> list[Finding]:
    place = next(p for p in (settings.data, *settings.data.parents) if p.exists())
    free = shutil.disk_usage(place).free / 1e6
    text = f"{free / 1e3:.1f} GB free for results and caches in {settings.data}"
    if free < settings.disk_floor_mb:
        return [Finding("disk", f"{text}; new jobs are refused below {settings.disk_floor_mb / 1e3:g} GB", False)]
    return [Finding("disk", text, True if free > LOW_DISK_MB else None)]


def _memory(settings: Settings) -> list[Finding]:
    free = psutil.virtual_memory().available / 1e6
    return [Finding("memory", f"{free / 1e3:.1f} GB free", True if free > LOW_MEMORY_MB else None)]


def _cost(settings: Settings) -> list[Finding]:
    """What a window of keyframes costs with each shape of checkpoint, by count and by this device's speed."""
    sentences = {"source": "a red car on the road", "targets": ("a blue car on the road",)}
    swap = read_edit(sentences["source"], *sentences["targets"])
    speed = measured_speed(choose_device(settings.device)[0])
    findings = []
    for name, shape, side in (("demo", "small", 96), ("sd15", "sd15", 512)):
        request = settled(EditRequest.from_preset(model=name, **sentences))
        work = planned_evaluations(request, [control(swap, request)])
        counts = run_flops(
            *meta_parts(shape),
            (side, side),
            LARGEST_WINDOW,
            request,
            before=work["invert"] + work["null_text"],
            edit=work["edit"],
            encoded=True,
        )
        total = LARGEST_WINDOW * (counts["unet"] + counts["vae"] + counts["spatial_loss"])
        text = (
            f"{LARGEST_WINDOW} keyframes, preset {request.preset}: {sum(work.values()):g} UNet evaluations per "
            f"keyframe, {total / 1e12:.3g} TFLOP, at best {clock(total / speed)} here"
        )
        findings.append(Finding(f"cost with {name}", text))
    return findings


def _settings(settings: Settings) -> list[Finding]:
    """Every setting in force, under the name of its environment variable."""
    findings = []
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        shown = ", ".join(value) if isinstance(value, tuple) else str(value)
        origin = "" if value == f.default else f" (default {f.default})"
        findings.append(Finding(variable(f.name), f"{shown or '(empty)'}{origin}"))
    return findings


def measured_speed(device: torch.device, side: int = 1024, seconds: float = 0.5) -> float:
    """Floating-point operations per second of matrix products on `device`: what nothing here can be faster than."""
    matrix = torch.randn(side, side, device=device, dtype=choose_dtype(device)[0])
    float((matrix @ matrix)[0, 0])  # warm up; reading a value waits for the device
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        float((matrix @ matrix)[0, 0])
        done += 1
    return done * 2.0 * side**3 / (time.perf_counter() - began)
