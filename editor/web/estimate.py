"""What an edit will cost, before it runs: UNet evaluations by counting, seconds by what this machine took before.

The count is the method's own. Speed is remembered in the data folder after each job.
"""

import json
import logging
import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from editor.diffusion.memory import LARGEST_WINDOW, SMALLEST_WINDOW, row_bytes, window_size
from editor.media.files import replacing
from editor.method.branches import planned_evaluations, row_schedule
from editor.method.control import Control, control, settled
from editor.reading import read_edit
from editor.request import EditRequest

log = logging.getLogger(__name__)

FIRST_GUESS = {"demo": 0.03, "sd": 2.5}
"""Seconds of one evaluation of one frame before anything was measured: two CPU cores, built-in model and SD 1.5."""
FIRST_GUESS_CUDA = {"demo": 0.002, "sd": 0.03}
OWN_SIDE = {"demo": 96, "sd": 512}
"""Pixels of the longer side that a model works at unless told otherwise."""
GROWTH = {"demo": (0.713, 0.287, 0.0), "demo, dense": (0.713, 0.191, 0.0481), "sd": (0.59, 0.246, 0.0205)}
"""How the work of one evaluation grows, counted in FLOPs with `method.flops` on the built-in model and Stable Diffusion
1.5: a part with the pixels, a part with their square (attention within few frames), and one with that and the number
of frames (attention over all, which the built-in model's own presets do without). They add up to 1 at the model's own
size with 8 frames; with such layers an evaluation of the built-in model takes 1.3 times as much."""
WEIGHT = 0.5
"""Share of the newest job in the remembered speed: machines change load, but one odd job should not decide."""


@dataclass(frozen=True)
class Cost:
    """The expected cost of one edit. `measured` is False while the seconds are a first guess."""

    keyframes: int
    evaluations: float
    """UNet evaluations of one frame's latents, over all targets."""
    seconds: float
    memory_gb: float
    measured: bool


def planned(request: EditRequest) -> dict[str, float]:
    """UNet evaluations of one frame in the stages `invert`, `null_text` and `edit`, over all targets."""
    return planned_evaluations(*_settled(request))


def _settled(request: EditRequest) -> tuple[EditRequest, list[Control]]:
    """The request as it runs, and what each target's words decide; without a target nothing changes."""
    request = settled(replace(request, targets=request.targets or (request.source,)))
    return request, [control(read_edit(request.source, target), request) for target in request.targets]


def evaluations(request: EditRequest, frames: int, reused: bool = False) -> float:
    """UNet evaluations of the whole job; `reused` when the inversion is kept from an earlier one."""
    work = planned(request)
    return frames * (work["edit"] if reused else sum(work.values()))


class Pace:
    """Remembered seconds per evaluation, by model and size, in one small file of the data folder."""

    def __init__(self, data: Path, cuda: bool = False) -> None:
        self._file = data / "pace.json"
        self._lock = Lock()
        self._cuda = cuda
        self._known: dict[str, float] = _read(self._file)
        self._seen: set[str] = set()

    @property
    def on_gpu(self) -> bool:
        """Whether edits run on an NVIDIA card, whose memory is not this machine's."""
        return self._cuda

    def per_evaluation(self, request: EditRequest) -> tuple[float, bool]:
        """Seconds per evaluation at the model's own size with 8 frames, and whether they were measured at this size."""
        known = self._known.get(_key(request))
        if known:
            return known, True
        table = FIRST_GUESS_CUDA if self._cuda else FIRST_GUESS
        return self._known.get(f"{request.model}@own", table[_kind(request)]), False

    def learn(self, job_id: str, request: EditRequest, frames: int, seconds: float, reused: bool) -> None:
        """Take a finished job into account, once."""
        work = evaluations(request, frames, reused) * growth(request, frames)
        with self._lock:
            if job_id in self._seen or work <= 0 or not (math.isfinite(seconds) and seconds > 0):
                return
            self._seen.add(job_id)
            old = self._known.get(_key(request))
            new = seconds / work
            self._known[_key(request)] = new if old is None else (1 - WEIGHT) * old + WEIGHT * new
            try:
                with replacing(self._file) as temporary:
                    temporary.write_text(json.dumps(self._known, indent=1))
            except OSError:
                log.warning("the measured speed could not be kept in %s", self._file, exc_info=True)

    def least_memory_gb(self, request: EditRequest, frames: int) -> float:
        """The memory without which `request` on `frames` keyframes cannot run: in the smallest windows."""
        return memory_gb(request, frames, self._cuda, SMALLEST_WINDOW)

    def within(self, request: EditRequest, seconds: float) -> int:
        """How many keyframes `request` edits in so many seconds, as far as it may, and at least one."""
        counts = range(1, request.max_frames + 1)
        return max(1, bisect_right(counts, seconds, key=lambda count: self.cost(request, count).seconds))

    def cost(self, request: EditRequest, frames: int, reused: bool = False) -> Cost:
        """What `request` on `frames` keyframes will take."""
        pace, measured = self.per_evaluation(request)
        work = evaluations(request, frames, reused)
        return Cost(
            frames, work, work * growth(request, frames) * pace, memory_gb(request, frames, self._cuda), measured
        )


def side(request: EditRequest) -> int:
    """Pixels of the longer side that the model works at."""
    return request.size or NATIVE.get(request.model, OWN_SIDE[_kind(request)])


def growth(request: EditRequest, frames: int) -> float:
    """Work of one evaluation of one frame, relative to the model's own size with 8 frames."""
    kind = _kind(request)
    plain, near, across = GROWTH["demo, dense" if kind == "demo" and request.dense_layers != "none" else kind]
    pixels = (side(request) / OWN_SIDE[kind]) ** 2
    return plain * pixels + (near + across * min(frames, LARGEST_WINDOW)) * pixels**2


RESIDENT_GB = {"demo": 0.6, "half": 3.8, "full": 5.6}
"""The program and all weights, by the UNet's precision with Stable Diffusion 1.5 and 2.1."""
CHANNELS = {"demo": 45, "sd": 320}
"""Of the UNet's first level. The built-in one has 64, but its deeper levels are narrower in proportion: measured."""
FACTOR = {"demo": 4, "sd": 8}
"""Pixels per latent cell along one axis."""
HELD = 0.003
"""Gigabytes per keyframe of 512 x 512 pixels: four pictures, and a dozen latents of the level at work."""
NATIVE = {"sd21": 768}
"""Sides that checkpoints of the catalog were trained at, where they are not 512."""


def memory_gb(request: EditRequest, frames: int, half: bool = False, window: int = LARGEST_WINDOW) -> float:
    """Rough peak memory in gigabytes: the program and weights, the activations of all rows of the fullest step, of so
    many frames as pass at once (`window` at most), and what is held of every keyframe.

    `half`: the UNet runs in half precision on a GPU, as it does on CUDA, otherwise in full precision on a CPU.
    """
    kind = _kind(request)
    rows = max(step.count for step in row_schedule(*_settled(request)))
    held = frames * HELD * (side(request) / 512) ** 2
    row = row_bytes((side(request) // FACTOR[kind]) ** 2, CHANNELS[kind], 2 if half else 4, cpu=not half) / 1e9
    at_once = request.window or min(window, window_size(None, rows, row, frames, cpu=not half))
    resident = RESIDENT_GB["demo" if kind == "demo" else "half" if half else "full"]
    return resident + rows * min(frames, at_once) * row + held


def _kind(request: EditRequest) -> str:
    return "demo" if request.model == "demo" else "sd"


def _key(request: EditRequest) -> str:
    return f"{request.model}@{request.size or 'own'}"


def _read(path: Path) -> dict[str, float]:
    """The remembered speeds; a missing or damaged file is an empty memory."""
    try:
        values = json.loads(path.read_text())
        return {str(k): float(v) for k, v in values.items() if 0 < float(v) < 1e4}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, OSError):
        log.warning("the measured speeds in %s cannot be read; they start anew", path)
        return {}
