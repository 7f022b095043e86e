"""What an upload may be, and what a video file says about itself, read from the summary that ffmpeg prints.

No frame is decoded for the output.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from editor.events import EditError
from editor.media.ffmpeg import UNREADABLE, Bounds, run
from editor.settings import Settings

TOO_SLOW = "Reading the clip takes too long. Please make it shorter or smaller."

CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,gif,ogg"
"""Formats that hold their own frames. Playlists, manifests and scripts, which name other files, are not among them."""

BT709 = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv,format=yuv420p"
"""The end of a chain of filters: how the colours were coded, so that every player shows the same ones."""

# ffmpeg continues the lines of a title or comment behind ": ", so a file cannot forge a line that begins like these.
_INPUT = re.compile(r"^Input #0, (\S+), from ", re.MULTILINE)
_DURATION = re.compile(r"^  Duration: (?:N/A|(\d+):(\d\d):(\d\d\.\d+))", re.MULTILINE)
_STREAM = re.compile(r"^  Stream #0:\d+\S*: (Video|Audio): (.*)((?:\n {4}.*)*)", re.MULTILINE)
_PICTURES = ("(attached pic)", "(timed thumbnails)")  # covers, which are streams but not the clip
_SIZE = re.compile(r", (\d+)x(\d+)[ ,]")
_OVERSIZE = re.compile(r"Picture size (\d+)x(\d+) exceeds specified max pixel count")
_RATE = re.compile(r", ([\d.]+)(k?) (fps|tbr)")
_ASPECT = re.compile(r"SAR (\d+):(\d+)")
_ROTATION = re.compile(r"^ +Display Matrix: rotation of (-?[\d.]+) degrees", re.MULTILINE)
_ALPHA = re.compile(r", (?:yuva|gbrap|rgba|bgra|argb|abgr|ya8|ya16|pal8)")


@dataclass(frozen=True)
class Limits:
    """Bounds on a raw clip. A clip outside them is refused, except `side` and `fps`, which it is brought down to."""

    seconds: float = Settings.max_seconds
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
    bounds: Bounds = field(default_factory=lambda: Bounds(cpu_seconds=120, wall_seconds=240.0))
    """What one ffmpeg process may use. A 4K HEVC clip of 60 s needs most of the processor time."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The limits an installation was set to (`EDITOR_MAX_SECONDS`, `EDITOR_MAX_UPLOAD_MB`)."""
        return cls(seconds=settings.max_seconds, upload_bytes=settings.max_upload_mb * 2**20)


@dataclass(frozen=True)
class Header:
    """What a raw file claims. Everything in it may be a lie; None and 0 stand for what it does not say."""

    container: str
    seconds: float | None
    has_video: bool
    has_audio: bool
    codec: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels as stored, before rotation."""
    fps: float = 0.0
    base_rate: float = 0.0
    """The smallest regular rate that all frame times fit; above `fps` where the rate varies."""
    rotation: int = 0
    pixel_aspect: float = 1.0
    """Width over height of one pixel as stored."""
    alpha: bool = False
    hdr: bool = False

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in square pixels, as the clip is meant to be seen."""
        width, height = max(1, round(self.size[0] * self.pixel_aspect)), self.size[1]
        return (height, width) if self.rotation in (90, 270) else (width, height)


@dataclass(frozen=True)
class Probe:
    """A normalised clip: constant frame rate, square pixels, upright, yuv420p H.264 in mp4."""

    seconds: float
    fps: float
    size: tuple[int, int]
    """Width and height in pixels, both even."""
    frames: int
    has_audio: bool
    rotated: bool = False
    """Whether the upload was stored turned and is upright now."""
    source_size: tuple[int, int] = (0, 0)
    """Width and height of the upload as it is meant to be seen; (0, 0) when only the normalised file is known."""
    source_fps: float = 0.0
    """Mean frame rate of the upload; 0 when unknown."""
    notes: tuple[str, ...] = field(default=())
    """What was changed on the way, in sentences for a person."""


def input_arguments(path: Path, limits: Limits) -> list[str]:
    """ffmpeg's arguments to open an untrusted file and nothing else."""
    return [
        *("-threads", "2", "-protocol_whitelist", "file", "-format_whitelist", CONTAINERS),
        *("-max_pixels", str(limits.pixels), "-i", f"file:{path.absolute()}"),
    ]


def read_header(path: Path, limits: Limits) -> Header | None:
    """The claims of an untrusted file, None when it is no video container that we open.

    Raises `EditError` when a limit ends the reading.
    """
    outcome = run(input_arguments(path, limits), limits.bounds)
    if outcome.out_of_time:
        raise EditError(TOO_SLOW)
    return parse_header(outcome.log)


def parse_header(log: str) -> Header | None:
    """The claims that ffmpeg's summary of its first input repeats, None when it opened none."""
    opened = _INPUT.search(log)
    if not opened:
        return None
    oversize = _OVERSIZE.search(log)
    log = log[opened.start() :]
    streams = [stream for stream in _STREAM.findall(log) if not any(mark in stream[1] for mark in _PICTURES)]
    audio = any(kind == "Audio" for kind, _, _ in streams)
    video = next(((text, side) for kind, text, side in streams if kind == "Video"), None)
    claims = _video_claims(*video) if video else {}
    if claims and not all(claims["size"]) and oversize:
        claims["size"] = (int(oversize[1]), int(oversize[2]))
    return Header(opened[1].rstrip(","), _seconds(log), video is not None, audio, **claims)


def _seconds(log: str) -> float | None:
    found = _DURATION.search(log)
    if not found or found[1] is None:
        return None
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def _video_claims(text: str, side: str) -> dict:
    """The fields of `Header` that one video stream's lines give."""
    size = _SIZE.search(text + ",")
    rates = {name: float(number) * (1000 if kilo else 1) for number, kilo, name in _RATE.findall(text)}
    aspect = _ASPECT.search(text)
    rotation = _ROTATION.search(side)
    return {
        "codec": text.split()[0].rstrip(","),
        "size": (int(size[1]), int(size[2])) if size else (0, 0),
        "fps": rates.get("fps", 0.0),
        "base_rate": rates.get("tbr", 0.0),
        "rotation": round(float(rotation[1])) % 360 if rotation else 0,
        "pixel_aspect": int(aspect[1]) / int(aspect[2]) if aspect and int(aspect[1]) and int(aspect[2]) else 1.0,
        "alpha": bool(_ALPHA.search(text)),
        "hdr": "arib-std-b67" in text or "smpte2084" in text,
    }


def probe(path: Path) -> Probe:
    """Describe a file that `normalise` or `write_video` wrote, whose header can be believed.

    Frames are counted, not decoded. Raises `EditError` when the file is gone or is no such file.
    """
    count = ["-nostats", "-progress", "pipe:1", *input_arguments(path, Limits()), "-map", "0:v:0", "-c", "copy"]
    outcome = run([*count, "-f", "null", "-"])
    header = parse_header(outcome.log)
    frames = int(outcome.progress().get("frame", 0))
    if outcome.code != 0 or header is None or not header.fps or not frames:
        raise EditError(UNREADABLE)
    return Probe(frames / header.fps, header.fps, header.size, frames, header.has_audio)
