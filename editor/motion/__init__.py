"""The clip's own motion: which frames are edited, and how an edit is carried along it to the others.

Works on frames alone, without any model and without torch. Everything is a stream: a few frames are held at a time.
"""

from editor.motion.carry import Carried, Change, agreed, carried, difference, spread
from editor.motion.keyframes import Keyframes, choose_keyframes

__all__ = ["Carried", "Change", "Keyframes", "agreed", "carried", "choose_keyframes", "difference", "spread"]
