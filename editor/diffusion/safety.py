"""The safety checker that Stable Diffusion 1.x checkpoints bring, asked about finished frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from editor.events import EditError

SHARE = 0.1
"""From this share of flagged frames on a result is withheld, however few frames that is."""

BLUR = 8
"""The blur's radius is the longer side through this."""


class Withheld(EditError):
    """A result that the checker does not let pass; others may still be shown."""


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

    def passed(self, frames: np.ndarray) -> tuple[np.ndarray, str | None]:
        """The frames that may be shown, and a sentence on what was done to them, if anything was.

        The checker's false alarms are mostly single frames: one is blurred beyond recognition. Raises `Withheld` from
        two frames or a tenth of them on: a blackened video would look like a fault.
        """
        found = self.flagged(frames)
        if not found:
            return frames, None
        withheld(len(found), len(frames))
        shown = frames.copy()
        shown[found[0]] = blurred(frames[found[0]])
        return shown, f"the safety checker flagged frame {found[0] + 1} of {len(frames)}, which is blurred"


def withheld(found: int, frames: int) -> None:
    """Raise `Withheld` where `found` of so many frames are too many to be a false alarm."""
    if found > 1 or found >= SHARE * frames:
        raise Withheld(
            f"The checkpoint's safety checker flagged {found} of {frames} frames, so this result is withheld. Change "
            "the prompt. Whoever hosts this can turn the checker off with EDITOR_SAFETY=off."
        )


def blurred(frame: np.ndarray) -> np.ndarray:
    """The frame (H, W, 3) with nothing left but its colours in the rough."""
    picture = Image.fromarray(frame)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(max(picture.size) / BLUR)))
