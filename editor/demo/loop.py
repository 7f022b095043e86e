"""What every training of the built-in model shares: a time budget, EMA, checkpoints, the curve and sample sheets."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
import torch
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import nn

from editor.demo.workers import agreed, mean_gradients, rank

CHECKPOINT_SECONDS = 300
REPORT_SECONDS = 20


@dataclass
class Budget:
    """A run of `minutes`; `spent` seconds came before a resume."""

    minutes: float
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        return self.spent + time.monotonic() - self.started

    @property
    def part(self) -> float:
        """The used part of the budget, 0 to 1."""
        return min(1.0, self.elapsed / (60 * self.minutes))


def decay(part: float, hold: float = 0.55) -> float:
    """1 until `hold` of the time budget is used, then half a cosine down to 0."""
    late = max(0.0, (part - hold) / (1 - hold))
    return 0.5 * (1 + float(np.cos(np.pi * late)))


def learning_rate(peak: float, step: int, part: float, warmup: int = 200) -> float:
    """Linear warm-up, constant, then a cosine down to 2 % of the peak."""
    return peak * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * decay(part))


@dataclass
class Run:
    """One training run in `folder`: modules with their optimiser, curve, seeds and checkpoints."""

    folder: Path
    modules: dict[str, nn.Module]
    minutes: float
    seed: int = 0
    peak: float = 1e-3
    ema_decay: float = 0.9995
    config: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.parameters = [p for m in self.modules.values() for p in m.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.peak, betas=(0.9, 0.99), weight_decay=0.01)
        self.ema = EMAModel(self.parameters, decay=self.ema_decay)
        self.step, self.curve = 0, []
        self.budget = Budget(self.minutes)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Go on from the folder's checkpoint; the minutes already spent count towards the budget."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(state["live"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.step, self.curve = state["step"], state["curve"]
        self.budget = Budget(self.minutes, spent=state["seconds"])

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then move it; redraw the curve."""
        live = {n: m.state_dict() for n, m in self.modules.items()}
        state = {
            "live": live,
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        state |= {"curve": self.curve, "seconds": self.budget.elapsed, "seed": self.seed, "config": self.config}
        torch.save(state, self.checkpoint.with_suffix(".tmp"))
        self.checkpoint.with_suffix(".tmp").replace(self.checkpoint)
        self._draw_curve()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the average of the weights into the modules until the block ends."""
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        try:
            yield
        finally:
            self.ema.restore(self.parameters)

    def train(self, batches: Iterator, loss_of: Callable[..., torch.Tensor], sheet: Callable[[], np.ndarray]) -> None:
        """Take steps until the budget is used. `loss_of(batch)` gives the loss, `sheet()` a picture to look at."""
        saved = shown = time.monotonic()
        recent: list[float] = []
        while (part := agreed(self.budget.part)) < 1:
            recent.append(self._take_step(loss_of(next(batches)), learning_rate(self.peak, self.step, part)))
            now = time.monotonic()
            if now - shown > REPORT_SECONDS:
                shown = now
                self._report(recent)
                recent = []
            if now - saved > CHECKPOINT_SECONDS:
                saved = now
                self.finish(sheet)
        if recent:
            self._report(recent)
        self.finish(sheet)

    def _take_step(self, loss: torch.Tensor, rate: float) -> float:
        """One optimiser step over the batches of all processes; returns this process's loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        mean_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        self.ema.step(self.parameters)
        return float(loss.detach())

    def finish(self, sheet: Callable[[], np.ndarray]) -> None:
        """Checkpoint, and a sheet made with the averaged weights."""
        if rank() > 0:
            return
        self.save()
        with self.averaged(), torch.no_grad():
            Image.fromarray(sheet()).save(self.folder / "sheet.png")

    def _report(self, recent: list[float]) -> None:
        if rank() > 0:
            return
        left = max(0.0, 60 * self.budget.minutes - self.budget.elapsed)
        self.curve.append([self.budget.elapsed / 60, self.step, float(np.mean(recent))])
        print(
            f"{self.folder.name}: step {self.step}, loss {self.curve[-1][2]:.4f}, "
            f"lr {self.optimizer.param_groups[0]['lr']:.2e}, {left / 60:.1f} minutes left",
            flush=True,
        )

    def _draw_curve(self) -> None:
        matplotlib.use("Agg")
        from matplotlib import pyplot

        (self.folder / "curve.json").write_text(json.dumps({"seed": self.seed, **self.config, "curve": self.curve}))
        if not self.curve:
            return
        minutes, _, losses = zip(*self.curve, strict=True)
        figure, axes = pyplot.subplots(figsize=(7, 4))
        axes.plot(minutes, losses)
        axes.set(xlabel="minutes", ylabel="training loss", yscale="log", title=self.folder.name)
        figure.savefig(self.folder / "curve.png", dpi=90)
        pyplot.close(figure)


def grid(frames: np.ndarray, columns: int) -> np.ndarray:
    """uint8 (N, H, W, 3) -> one picture with `columns` frames a row; N must be a multiple of it."""
    n, h, w, c = frames.shape
    return frames.reshape(n // columns, columns, h, w, c).swapaxes(1, 2).reshape(n // columns * h, columns * w, c)
