"""Wall time of an edit's UNet stages against the same rows through the UNet without any control, and peak memory of one
dense denoising step beyond weights, frames and trajectory, each measured in its own process.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTokenizer

from editor.diffusion.kernels import SDPA
from editor.diffusion.layouts import BETAS
from editor.events import EditError
from editor.machine.shapes import TOKENIZER, layout, random_unet
from editor.method.attention import EditStep, attached, processors_for
from editor.method.branches import row_schedule
from editor.method.inversion import Trajectory, invert
from editor.method.plan import ControlPlan, plan_control
from editor.method.sampling import Conditioning, sample_edit
from editor.method.schedule import Schedule
from editor.request import EditRequest
from editor.settings import ROOT

ROUNDS = 3  # the variants take turns, and the fastest round of each counts: other programs only ever slow one down
FRAMES = 8
PEAK_FRAMES = (8, 16)
CELLS = 32  # per side, 256 pixels at SD 1.5's factor


class Bout:
    """The parts that all variants share: the built-in model's shape with random weights, and one request."""

    def __init__(self, request: EditRequest, shape: str = "small", frames: int = FRAMES) -> None:
        config = layout(shape).unet
        self.request, self.frames = request, frames
        self.unet: UNet2DConditionModel = random_unet(shape)
        scheduler = DDIMScheduler(**BETAS, prediction_type=layout(shape).prediction_type)
        self.schedule = Schedule.from_scheduler(scheduler, request.steps)
        tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
        self.plan: ControlPlan = plan_control(request.source, request.targets[0], request, tokenizer)
        noise = torch.Generator().manual_seed(0)
        side = config["sample_size"]
        self.latents = torch.randn(frames, self.unet.config.in_channels, side, side, generator=noise)
        self.text = Conditioning(*torch.randn(3, 1, 77, config["cross_attention_dim"], generator=noise))

    def controlled(self) -> None:
        """Inversion and edit as they are."""
        trajectory = invert(self.unet, self.schedule, self.latents, self.text.source)
        sample_edit(self.unet, self.schedule, trajectory, [self.plan], self.text, self.request)

    def bare(self) -> None:
        """The same rows through the same attention layout, without control."""
        layout = (self.request.frame_attention, self.request.dense_layers)
        with attached(self.unet, processors_for(self.unet, SDPA)):
            self._rows([1] * self.request.steps, EditStep(self.frames))
        with attached(self.unet, processors_for(self.unet, SDPA, *layout)):
            self._rows(self._counts(), EditStep(self.frames))

    def plain(self) -> None:
        """The same rows through diffusers' own attention, frame by frame."""
        self._rows([1] * self.request.steps, None)
        self._rows(self._counts(), None)

    def _counts(self) -> list[int]:
        return [rows.count for rows in row_schedule(self.request, [self.plan])]

    @torch.no_grad()
    def _rows(self, counts: list[int], edit: EditStep | None) -> None:
        """One UNet call per step with `count` rows of all frames; our layers want text per row, others per frame."""
        for step, count in enumerate(counts):
            batch = self.latents.repeat(count, 1, 1, 1)
            text = self.text.source.expand(count if edit else len(batch), -1, -1)
            extra: dict[str, Any] = {"cross_attention_kwargs": {"edit": edit}} if edit else {}
            self.unet(batch, self.schedule.timesteps[step], encoder_hidden_states=text, **extra)


def wall_ratios(say: Callable[[str], None], steps: int | None = None) -> dict[str, float]:
    """`wall_ratio`: controlled over bare; `layout_ratio`: bare over plain; preset balanced, built-in model's shape."""
    request = EditRequest.from_preset(
        "balanced", source="a red car on the road", targets=("a blue car on the road",), steps=steps
    )
    bout = Bout(request)
    variants = {"controlled": bout.controlled, "bare": bout.bare, "plain": bout.plain}
    best = dict.fromkeys(variants, float("inf"))
    for number in range(ROUNDS):
        say(f"timing the UNet stages, round {number + 1} of {ROUNDS}")
        for name, run in variants.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return {"wall_ratio": best["controlled"] / best["bare"], "layout_ratio": best["bare"] / best["plain"]}


def memory_ratio(say: Callable[[str], None], shape: str = "sd15", cells: int = CELLS) -> dict[str, float]:
    """`dense`: the peak of 16 frames over that of 8, all self-attention dense; and both peaks in megabytes."""
    peaks = []
    for frames in PEAK_FRAMES:
        say(f"peak memory of {frames} frames, dense, shape {shape}, {cells} x {cells} latents")
        command = [sys.executable, "-m", "editor.machine.cost", shape, str(frames), str(cells)]
        outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            raise EditError(f"The measuring process failed: {outcome.stderr.strip()[-300:]}")
        peaks.append(int(outcome.stdout.split()[-1]))
    few, many = PEAK_FRAMES
    megabytes = {f"peak_mb_{n}_frames": peak / 1e6 for n, peak in zip(PEAK_FRAMES, peaks, strict=True)}
    return {"dense": peaks[PEAK_FRAMES.index(many)] / peaks[PEAK_FRAMES.index(few)], **megabytes}


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
