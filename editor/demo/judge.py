"""A small classifier of demo-world frames, trained on renders only: it says what a generated picture shows."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from editor.demo.dataset import training_frames, training_moments
from editor.demo.describe import HEADS, WEIGHTS
from editor.demo.loop import Run, grid
from editor.demo.train_vae import frames_tensor
from editor.demo.world import Scene

BATCH = 32


class Judge(nn.Module):
    """Frames (N, 3, 96, 96) in -1..1 -> one row of class scores per attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96)
        stages = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(8, b), nn.SiLU())
            for a, b in pairwise(widths)
        ]
        self.features = nn.Sequential(*stages, nn.Conv2d(96, 96, 3, padding=1), nn.SiLU(), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(96 * 36, 128), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(values)) for name, values in HEADS.items()})

    def forward(self, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.hidden(self.features(frames))
        return {name: head(seen) for name, head in self.heads.items()}


@torch.no_grad()
def judged(judge: Judge, frames: np.ndarray) -> list[dict[str, str | None]]:
    """The judge's words for frames uint8 (N, 96, 96, 3)."""
    parts = [judge(frames_tensor(frames[i : i + 64], "cpu")) for i in range(0, len(frames), 64)]
    best = {name: torch.cat([part[name] for part in parts]).argmax(-1).tolist() for name in HEADS}
    return [{name: HEADS[name][best[name][i]] for name in HEADS} for i in range(len(frames))]


def accuracy(said: list[dict[str, str | None]], scenes: list[Scene]) -> dict[str, float]:
    """Share of right answers per attribute; the colour counts for paintable subjects alone."""
    scores = {}
    for name in HEADS:
        pairs = [(s[name], getattr(scene, name)) for s, scene in zip(said, scenes, strict=True)]
        pairs = [(a, b) for a, b in pairs if name != "color" or b is not None]
        scores[name] = sum(a == b for a, b in pairs) / len(pairs) if pairs else float("nan")
    return scores


def load_judge() -> Judge:
    """The committed judge, ready to ask."""
    judge = Judge().eval()
    judge.load_state_dict({k: v.float() for k, v in load_file(WEIGHTS).items()})
    return judge


def train_judge(folder: Path, minutes: float, resume: bool, frames: int, seed: int = 0) -> None:
    """Train on the same renders as the model, with slight noise; save to `WEIGHTS`."""
    torch.manual_seed(seed)
    pictures, targets = training_frames(frames, folder.parent / "data"), _targets(frames)
    judge = Judge()
    run = Run(folder, {"judge": judge}, minutes, seed, peak=2e-3, ema_decay=0.995, config={"batch": BATCH})
    if resume:
        run.resume()

    def loss_of(pick: np.ndarray) -> torch.Tensor:
        seen = frames_tensor(pictures[pick], "cpu")
        scores = judge(seen + torch.randn_like(seen) * 0.08 * torch.rand(len(seen), 1, 1, 1))
        return sum(nn.functional.cross_entropy(scores[name], targets[name][pick]) for name in HEADS)

    run.train(_picks(len(pictures), seed), loss_of, lambda: grid(np.array(pictures[:24]), 8))
    with run.averaged():
        WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in judge.state_dict().items()}, WEIGHTS)


def _picks(count: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, count, BATCH)


def _targets(count: int) -> dict[str, torch.Tensor]:
    """Class numbers of the training frames."""
    scenes = [scene for scene, _, _ in training_moments(count)]
    return {name: torch.tensor([HEADS[name].index(getattr(s, name)) for s in scenes]) for name in HEADS}
