"""CLIP's opinion, as papers report it: how well frames fit the target prompt, and each other.

Needs the folder of a CLIP checkpoint (clip-vit-base-patch32 or larger); nothing is downloaded. Written on the CLIPModel
of transformers, which is there anyway; the text score is torchmetrics' CLIPScore without its cap at zero.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import CLIPModel, CLIPProcessor

from editor.events import EditError, EditResult
from editor.media import read_clip


class ClipScore:
    """Scores frames uint8 (F, H, W, 3) with the checkpoint in `folder`. Raises `EditError` when it is no CLIP model."""

    def __init__(self, folder: Path) -> None:
        try:
            self.model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
            self.processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise EditError(
                f"There is no CLIP model in '{folder}' ({str(error).splitlines()[0]}). Give the folder of one in "
                "safetensors, for example clip-vit-base-patch32, or leave --clip away."
            ) from error

    @torch.no_grad()
    def __call__(self, frames: np.ndarray, prompt: str) -> dict[str, float | None]:
        """Two numbers, higher is better.

        `clip_text`: 100 cos(frame, prompt), mean over frames (Hessel et al., arXiv 2104.08718, with 100 for its 2.5).
        `clip_frames`: 100 cos of neighbouring frames, mean (frame consistency of Gen-1, arXiv 2302.03011).
        """
        inputs = self.processor(text=[prompt], images=list(frames), return_tensors="pt", padding=True, truncation=True)
        outcome = self.model(**inputs)
        pictures = torch.nn.functional.normalize(outcome.image_embeds, dim=-1)
        text = torch.nn.functional.normalize(outcome.text_embeds, dim=-1)
        neighbours = (pictures[1:] * pictures[:-1]).sum(-1)
        return {
            "clip_text": float(100 * (pictures @ text.T).mean()),
            "clip_frames": float(100 * neighbours.mean()) if len(neighbours) else None,
        }


def score_result(folder: Path, score: ClipScore) -> dict[str, float | None]:
    """CLIP's opinion of a finished edit of any clip: its `folder` holds the edited video and the manifest.

    Raises `EditError` for a folder that holds no finished edit.
    """
    result = EditResult("", folder, {})
    try:
        manifest = result.read_manifest()
        target, count = str(manifest["target"]), int(manifest["frames"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EditError(
            f"There is no finished edit in '{folder}'. Give a folder that `python -m editor edit` wrote, such as "
            "results/0, with its manifest.json and edited.mp4."
        ) from error
    return score(read_clip(result.edited, 0.0, None, None, count).frames, target)
