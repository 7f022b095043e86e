"""What an upload may be and what its normalising may cost."""

from dataclasses import dataclass, field
from typing import Self

from editor.media.ffmpeg import Bounds
from editor.settings import Settings


@dataclass(frozen=True)
class Limits:
    """Bounds on a raw clip. A clip outside them is refused, except `side` and `fps`, which it is brought down to."""

    seconds: float = 30.0
    """Longest clip, in seconds."""
    upload_bytes: int = 100 * 2**20
    """Largest file."""
    pixels: int = 8_912_896
    """Most pixels of one frame as stored, 4096 x 2176."""
    side: int = 1280
    """Longer side of the normalised frames; larger ones are scaled down."""
    smallest_side: int = 16
    """Shorter side below which there is nothing to edit."""
    longest_ratio: float = 8.0
    """Longer side over shorter side; beyond it hardly anything is left after fitting to a model."""
    fps: float = 30.0
    """Most frames per second of the normalised clip."""
    bounds: Bounds = field(default_factory=Bounds)
    """What one ffmpeg process may use. A 4K HEVC clip of 30 s needs most of the processor time."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The limits an installation was set to (`EDITOR_MAX_SECONDS`, `EDITOR_MAX_UPLOAD_MB`)."""
        return cls(seconds=settings.max_seconds, upload_bytes=settings.max_upload_mb * 2**20)
