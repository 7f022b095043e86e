"""From edited keyframes to every frame of the clip, along the clip's own motion."""

from collections.abc import Iterator

import numpy as np

from editor.motion import Carried, Change, agreed, carried, difference
from editor.stages.footage import Footage


def full_rate(footage: Footage, keyframes: np.ndarray, agreement: int) -> Iterator[Carried]:
    """All frames of the interval, edited, one by one; `keyframes` uint8 (K, H, W, 3) are edited, at the clip's size.

    `agreement`: how many neighbours on each side a keyframe's edit is averaged with, none for 0.
    """
    clip = footage.clip
    changes = (
        Change(shot, frame, difference(edit, frame))
        for shot, frame, edit in zip(clip.keyframes.shots, clip.frames, keyframes, strict=True)
    )
    return carried(clip.every_frame(), clip.keyframes, agreed(changes, agreement))
