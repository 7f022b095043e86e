"""The safety checker that Stable Diffusion 1.x checkpoints bring, asked about finished frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from editor.events import EditError


@dataclass(frozen=True)
class SafetyChecker:
    """The checkpoint's own classifier with its image processor."""

    processor: Any
    model: torch.nn.Module
    device: torch.device

    def flagged(self, frames: np.ndarray, chunk: int = 8) -> tuple[int, ...]:
        """Indices of the `frames`, uint8 (F, H, W, 3), that the classifier takes for unsafe."""
        found: list[int] = []
        for at in range(0, len(frames), chunk):
            part = frames[at : at + chunk]
            pixels = self.processor(images=list(part), return_tensors="pt").pixel_values
            dtype = next(self.model.parameters()).dtype
            # The checker blackens what it flags in the images it is given: it gets a copy, we keep the flags.
            _, flags = self.model(clip_input=pixels.to(self.device, dtype), images=[f.copy() for f in part])
            found += [at + i for i, flag in enumerate(flags) if flag]
        return tuple(found)

    def refuse_flagged(self, frames: np.ndarray) -> None:
        """Raise `EditError` when any frame is flagged: a blackened video would look like a fault."""
        found = self.flagged(frames)
        if found:
            raise EditError(
                f"The checkpoint's safety checker flagged {len(found)} of {len(frames)} frames, so no video was "
                "written. Change the prompt. Whoever hosts this can turn the checker off with EDITOR_SAFETY=off."
            )
