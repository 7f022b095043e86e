"""How a result stands beside its clip, without a right answer: what stayed, flicker, sharpness, match with the text.

The frames pass one by one. None is kept but two small ones, and a few keyframes where a CLIP model looks at them.
"""

import logging
from collections import deque
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from editor.diffusion.hub import hub_id
from editor.events import EditError
from editor.motion import Carried

log = logging.getLogger(__name__)

SIDE = 256
"""Longer side, in pixels, of the frames that flicker is measured on."""
STILL = 0.05
"""Levels of 255; a clip whose frames change less has no flicker that another could be compared with."""
LOOKS = 8
"""Keyframes that CLIP looks at, spread over the clip."""


class Gauge:
    """Hears of every frame of a result. `regions`: where the edit may act, bool (H, W) per keyframe; None: anywhere.

    `kept`: which keyframes are kept, by their number, as pairs of result and clip.
    """

    def __init__(self, regions: Iterable[np.ndarray] | None, kept: Iterable[int] = ()) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self._wanted, self._keyframes = frozenset(kept), 0
        self._regions = None if regions is None else iter(regions)
        self._error, self._kept = 0.0, 0
        self._gradients = np.zeros(2)
        self._flicker, self._triples = np.zeros(2), 0
        self._last: deque[np.ndarray] = deque(maxlen=3)

    def add(self, carried: Carried) -> None:
        """Take the next frame."""
        pair = carried.frame, carried.source
        self._last.append(np.stack([_small(frame) for frame in pair]))
        if len(self._last) == 3:
            before, here, after = self._last
            self._flicker += ((before - 2 * here + after) ** 2).mean(axis=(1, 2, 3))
            self._triples += 1
        if carried.keyframe:
            if self._keyframes in self._wanted:
                self.pairs.append(pair)
            self._keyframes += 1
            self._gradients += [_gradient_energy(frame) for frame in pair]
            if self._regions is not None:
                outside = ~next(self._regions)
                error = (carried.frame[outside].astype(np.float32) - carried.source[outside]) ** 2
                self._error, self._kept = self._error + float(error.sum()), self._kept + error.size

    def numbers(self) -> dict[str, float | None]:
        """`kept_psnr`: dB between clip and result on the keyframes, outside the region of the edit.

        `flicker`: how much neighbouring frames jump (root mean square of the second difference in time) relative to the
        clip. `sharpness`: gradient energy of the keyframes relative to the clip's (Subbarao et al. 1993). Each is None
        where there is nothing to compare.
        """
        still = self._triples == 0 or self._flicker[1] / max(1, self._triples) < STILL**2
        flat = self._gradients[1] <= 0
        return {
            "kept_psnr": _psnr(self._error, self._kept),
            "flicker": None if still else round(float(np.sqrt(self._flicker[0] / self._flicker[1])), 4),
            "sharpness": None if flat else round(float(self._gradients[0] / self._gradients[1]), 4),
        }


class ClipScore:
    """A CLIP model on the CPU that scores frames uint8 (F, H, W, 3).

    `name`: its folder, or its id of the Hub, `org/name` or `org/name@revision`. Raises `EditError` for what is no CLIP
    model.
    """

    def __init__(self, name: str) -> None:
        from transformers import CLIPModel, CLIPProcessor

        folder, found = Path(name).expanduser(), hub_id(name)
        self.name = folder.name if folder.exists() or not found else name
        place, options = str(folder), {"local_files_only": True}
        if not folder.exists() and found:
            place, options = found[0], {"revision": found[1]}
        try:
            model, said = CLIPModel.from_pretrained(place, use_safetensors=True, output_loading_info=True, **options)
            if said["missing_keys"]:
                raise ValueError("its weights are those of another model")
            self.model = model.requires_grad_(False).eval()
            self.processor = CLIPProcessor.from_pretrained(place, **options)
            self(np.zeros((1, 32, 32, 3), np.uint8), "a")  # what does not fit together shows now
        except Exception as error:  # transformers and the Hub's client raise whatever they meet
            raise EditError(
                f"There is no CLIP model in '{name}' ({(str(error).splitlines() or [type(error).__name__])[0]}). Give "
                "the folder of one in safetensors, for example clip-vit-base-patch32, or leave it out."
            ) from error

    @torch.no_grad()
    def __call__(self, frames: np.ndarray, prompt: str) -> dict[str, float | None]:
        """Two numbers, higher is better.

        `clip_text`: 100 cos(frame, prompt), mean over frames (Hessel et al., arXiv 2104.08718, with 100 for its 2.5).
        `clip_frames`: 100 cos of neighbouring frames, mean (frame consistency of Gen-1, arXiv 2302.03011).
        """
        most = self.model.config.text_config.max_position_embeddings
        text = {"padding": True, "truncation": True, "max_length": most}
        scored = self.model(**self.processor(text=[prompt], images=list(frames), return_tensors="pt", **text))
        pictures = torch.nn.functional.normalize(scored.image_embeds, dim=-1)
        text = torch.nn.functional.normalize(scored.text_embeds, dim=-1)
        neighbours = (pictures[1:] * pictures[:-1]).sum(-1)
        return {
            "clip_text": float(100 * (pictures @ text.T).mean()),
            "clip_frames": float(100 * neighbours.mean()) if len(neighbours) else None,
        }


@cache
def load_score(name: str) -> ClipScore | None:
    """The CLIP model that `EDITOR_CLIP` names, loaded once; None where it names none, or, with a warning, no such."""
    if not name:
        return None
    try:
        return ClipScore(name)
    except EditError as error:
        log.warning("EDITOR_CLIP is set, but results get no text match: %s", error)
        return None


def looked_at(keyframes: int) -> frozenset[int]:
    """The numbers of the keyframes that CLIP looks at."""
    return frozenset(np.linspace(0, keyframes - 1, min(keyframes, LOOKS)).round().astype(int).tolist())


def text_match(
    score: ClipScore | None, pairs: list[tuple[np.ndarray, np.ndarray]], target: str, source: str
) -> dict[str, Any]:
    """`text_match`: how well frames of a result match their sentence, relative to the clip's own with its own.

    `clip_scores`: both, as `ClipScore` gives them, and the model. `pairs`: frames of result and clip. None without a
    score, and where CLIP does not find the clip in its own sentence either.
    """
    nothing = {"text_match": None, "clip_scores": None}
    if score is None or not pairs:
        return nothing
    try:
        edited, own = (np.stack(frames) for frames in zip(*pairs, strict=True))
        result, clip = score(edited, target)["clip_text"], score(own, source)["clip_text"]
    except (RuntimeError, MemoryError) as error:  # an edit that is finished is not lost for want of memory
        log.warning("this result gets no text match: %s", error)
        return nothing
    scores = {"model": score.name, "result": round(result, 3), "clip": round(clip, 3), "frames": len(pairs)}
    return {"text_match": round(result / clip, 4) if clip > 0 else None, "clip_scores": scores}


def at_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask bool (h, w) at `size` (width, height) in pixels."""
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def _psnr(error: float, count: int) -> float | None:
    """Peak signal-to-noise ratio in dB of a sum of squared errors, at most 99."""
    if not count:
        return None
    return 99.0 if error == 0 else round(float(min(99.0, 10 * np.log10(255.0**2 * count / error))), 2)


def _small(frame: np.ndarray) -> np.ndarray:
    """float32 (h, w, 3), its longer side at most `SIDE`."""
    height, width = frame.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _gradient_energy(frame: np.ndarray) -> float:
    """Sum of squared differences to the pixels at the right and below, of all colours."""
    levels = frame.astype(np.float32)
    return sum(float((np.diff(levels, axis=axis) ** 2).sum()) for axis in (0, 1))
