"""The one ffmpeg command that decodes an upload: what it is asked to write, and how to tell how that went."""

import re
from pathlib import Path

from editor.media.ffmpeg import FfmpegExit, run
from editor.media.probe import BT709, Header, Limits, input_arguments

MARGIN_SECONDS = 1.0
"""Decoded beyond the longest allowed clip, so that a clip that is too long can be told from one that just fits."""

# HLG or PQ to SDR: linear light with reference white at 203 nits (ITU-R BT.2408), a curve that leaves the darker half
# alone and bends highlights, then BT.709.
_TONE_MAP = (
    "zscale=transfer=linear:npl=203,format=gbrpf32le,tonemap=mobius:param=0.5:desat=0,"
    "zscale=primaries=bt709:transfer=bt709:matrix=bt709:range=tv,"
)
_ON_WHITE = (
    "format=rgba,split[front][copy];[copy]drawbox=color=white:replace=1:thickness=fill[white];"
    "[white][front]overlay=format=auto,"
)
_DECODED = re.compile(r"Input stream #0:\d+ \(video\): .*?(\d+) frames decoded(?:; (\d+) decode errors)?")


def constant_rate(header: Header, limits: Limits) -> float:
    """The rate of the normalised clip, with at most two decimals so that ffmpeg's summary repeats it exactly.

    Where the source's rate varies, its base rate keeps every frame in its place, as far as the limit allows.
    """
    wanted = header.fps or header.base_rate or 25.0
    if wanted < header.base_rate <= limits.fps:
        wanted = header.base_rate
    return round(min(max(wanted, 1.0), limits.fps), 2)


def output_size(header: Header, limits: Limits) -> tuple[int, int]:
    """Width and height of the normalised clip: upright, square pixels, at most `limits.side`, both even."""
    width, height = header.upright_size
    scale = min(1.0, limits.side / max(width, height))
    return tuple(max(2, 2 * round(side * scale / 2)) for side in (width, height))


def convert(raw: Path, out: Path, header: Header, limits: Limits) -> tuple[FfmpegExit, tuple[str, ...]]:
    """Decode `raw` into `out`. What cannot be converted is given up in turn, and named in the notes.

    Some builds of ffmpeg lack the filter for HDR colours; some files have sound that cannot be decoded.
    """
    losses = {
        "hdr": "The clip's HDR colours may look pale: this machine cannot convert them.",
        "sound": "The sound could not be read and was left out.",
    }
    kept = [name for name, there in (("hdr", header.hdr), ("sound", header.has_audio)) if there]
    notes = ()
    while True:
        outcome = run(_arguments(raw, out, header, limits, kept), limits.bounds)
        if outcome.code == 0 or outcome.stopped or not kept:
            return outcome, notes
        notes += (losses[kept.pop(0)],)


def decoded_frames(outcome: FfmpegExit) -> tuple[int, int]:
    """How many frames were really in the file, and how many faults the decoder met.

    More frames may have been written than decoded, since a constant rate repeats some.
    """
    found = _DECODED.findall(outcome.log)
    if not found:  # a build that words it differently
        return int(outcome.progress().get("frame", 0)), 0
    frames, faults = found[-1]  # earlier ones may be words in a title
    return int(frames), int(faults or 0)


def _arguments(raw: Path, out: Path, header: Header, limits: Limits, kept: list[str]) -> list[str]:
    seconds = limits.seconds + MARGIN_SECONDS
    rate = constant_rate(header, limits)
    audio = [
        *("-map", "0:a:0", "-af", "aresample=48000:async=1:first_pts=0,apad", "-shortest"),
        *("-c:a", "aac", "-b:a", "160k", "-ac", "2"),
    ]
    return [
        *("-y", "-loglevel", "verbose", "-nostats", "-progress", "pipe:1", "-filter_threads", "2"),
        *("-t", f"{seconds:g}", *input_arguments(raw, limits)),
        *("-map", "0:V:0", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *("-vf", _filters(header, rate, limits, "hdr" in kept), "-frames:v", str(int(seconds * rate) + 1)),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-g", "30", "-threads", "2"),
        *(audio if "sound" in kept else ["-an"]),
        *("-video_track_timescale", "90000", "-movflags", "+faststart", "-f", "mp4", f"file:{out.absolute()}"),
    ]


def _filters(header: Header, rate: float, limits: Limits, tone_map: bool) -> str:
    """Whole frames at a constant rate from time 0, transparency on white, SDR, the wanted size, BT.709."""
    width, height = output_size(header, limits)
    prepare = _ON_WHITE if header.alpha else "yadif=deint=interlaced,"
    scale = f"scale={width}:{height}:flags=lanczos:out_color_matrix=bt709:out_range=tv,setsar=1"
    return f"{prepare}fps={rate}:start_time=0,{scale},{_TONE_MAP if tone_map else ''}{BT709}"
