"""From edited keyframes to every frame of the clip, along the clip's own motion, past the safety checker."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from editor.diffusion.safety import SafetyChecker, blurred, withheld
from editor.motion import Carried, Change, difference, spread
from editor.stages.footage import Footage
from editor.stages.session import Session
from editor.stages.targets import Edited, finished_frames

CHECKED = 4
"""Of so many frames in a row the safety checker looks at the middle one: a tenth of a second looks alike."""


def full_rate(session: Session, footage: Footage, edited: Edited, index: int) -> Iterator[Carried]:
    """All frames of the interval as target `index` has them, one by one.

    Raises `Withheld` as soon as the checkpoint's safety checker, if there is one, takes too many for unsafe.
    """
    clip = footage.clip
    pairs = zip(clip.keyframes.shots, finished_frames(session, footage, edited, index), strict=True)
    changes = (Change(shot, own, difference(edit, own)) for shot, (own, edit) in pairs)
    frames = spread(clip.every_frame(), clip.keyframes, changes, session.request.agreement)
    safety = session.models.safety
    return frames if safety is None else passed(frames, safety, clip.count, session.notes)


def passed(frames: Iterator[Carried], safety: SafetyChecker, count: int, notes: list[str]) -> Iterator[Carried]:
    """The `count` frames that may be shown: where one that is looked at is unsafe, its neighbours are blurred with it.

    Carrying mixes what two keyframes show, so frames are looked at again as they will be seen. The rule is that of
    `SafetyChecker.passed`: one may be a false alarm. `notes` hear of it.
    """
    found, looks, done = 0, -(-count // CHECKED), 0
    while group := list(islice(frames, CHECKED)):
        if safety.flagged(group[len(group) // 2].frame[None]):
            found += 1
            withheld(found, looks)
            group = [replace(carried, frame=blurred(carried.frame)) for carried in group]
            notes.append(f"the safety checker flagged frames {done + 1} to {done + len(group)}, which are blurred")
        yield from group
        done += len(group)
