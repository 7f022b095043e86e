"""Untrusted bytes -> a clip that every later step can rely on.

Only `normalise` opens an upload, and only through bounded ffmpeg processes that may read that one file: formats that
name other files are not on the list, the only protocol is `file`, and the processes run in an empty folder.
"""

import dataclasses
import re
from pathlib import Path

from editor.events import EditError
from editor.media.ffmpeg import FfmpegExit, run
from editor.media.files import DISK_FULL, replacing
from editor.media.probe import BT709, TOO_SLOW, Header, Limits, Probe, input_arguments, probe, read_header

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


FORMATS = "mp4, mov, webm, mkv, avi, mpeg, flv, ogg or gif"


def normalise(raw: Path, out: Path, limits: Limits | None = None) -> Probe:
    """Write the upload `raw` as `out`: H.264 yuv420p, constant rate, upright, square pixels, even size, AAC or silent.

    Raises `EditError` saying in plain words why a file is refused. `out` appears whole or not at all.
    """
    limits = limits or Limits()
    _check_file(raw, limits)
    header = read_header(raw, limits)
    _check_header(header, limits)
    with replacing(out) as temporary:
        outcome, losses = convert(raw, temporary, header, limits)
        _check_outcome(outcome, temporary)
        result = probe(temporary)
        _check_length(result, limits, decoded_frames(outcome)[0])
    return dataclasses.replace(
        result,
        rotated=header.rotation != 0,
        source_size=header.upright_size,
        source_fps=header.fps,
        notes=losses + _notes(header, result, outcome),
    )


def _check_file(raw: Path, limits: Limits) -> None:
    """Refuse by what the filesystem says, before anything is opened."""
    if not raw.is_file():
        raise EditError(f"There is no file '{raw.name}'.")
    size = raw.stat().st_size
    if size == 0:
        raise EditError("The file is empty. Please upload it again.")
    if size > limits.upload_bytes:
        raise EditError(
            f"The file is {size / 2**20:.3g} MB; up to {limits.upload_bytes / 2**20:g} MB is allowed. "
            "Please shorten or shrink the clip."
        )


def _check_header(header: Header | None, limits: Limits) -> None:
    """Refuse by what the file claims, before any frame is decoded."""
    if header is None:
        raise EditError(f"This is not a video that can be read. Please upload {FORMATS}.")
    if not header.has_video:
        what = "only sound" if header.has_audio else "no picture and no sound"
        raise EditError(f"The file has {what}, no video. Please upload a video clip.")
    width, height = header.size
    if not width or not height:
        raise EditError(f"The file is damaged: it does not state its picture size. Please save it again as {FORMATS}.")
    if width * height > limits.pixels:
        raise EditError(
            f"The picture is {width} x {height} pixels; up to {limits.pixels / 1e6:.1f} million pixels are allowed, "
            "for example 3840 x 2160. Please scale the clip down."
        )
    if min(width, height) < limits.smallest_side:
        raise EditError(f"The picture is {width} x {height} pixels; each side needs at least {limits.smallest_side}.")
    if max(header.upright_size) > limits.longest_ratio * min(header.upright_size):
        raise EditError(f"The picture is {width} x {height} pixels, too long and thin. Please crop the clip.")
    if header.seconds is not None and header.seconds > limits.seconds + MARGIN_SECONDS:
        raise EditError(_too_long(header.seconds, limits))


def _check_outcome(outcome: FfmpegExit, out: Path) -> None:
    """Refuse by how the conversion went."""
    if outcome.disk_full:
        raise EditError(DISK_FULL)
    if outcome.out_of_time:
        raise EditError(TOO_SLOW)
    if outcome.file_too_large:
        raise EditError("The clip becomes too large when it is decoded. Please make it shorter or smaller.")
    frames, _ = decoded_frames(outcome)
    if outcome.code != 0 or frames < 1 or not out.exists():
        raise EditError(f"The file is damaged: its frames cannot be read. Please save it again as {FORMATS}.")


def _check_length(result: Probe, limits: Limits, decoded: int) -> None:
    """Refuse by what came out, since the header may have said nothing or lied."""
    if result.frames < 2 <= decoded:
        raise EditError(
            "All frames of the clip have the same timestamp, so it cannot be played. Please export it again."
        )
    if result.seconds > limits.seconds + 1 / result.fps:
        raise EditError(_too_long(None, limits))


def _too_long(seconds: float | None, limits: Limits) -> str:
    if seconds is None:
        return f"The clip is longer than the {limits.seconds:g} s that are allowed. Please cut it first."
    found = f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:.0f} h"
    return f"The clip is {found} long; up to {limits.seconds:g} s are allowed. Please cut it first."


def _notes(header: Header, result: Probe, outcome: FfmpegExit) -> tuple[str, ...]:
    """What differs from the upload, in sentences for a person."""
    notes = []
    (width, height), (new_width, new_height) = header.upright_size, result.size
    if max(width, height) > max(new_width, new_height) + 1:  # one pixel less makes an odd side even
        notes.append(f"Scaled down from {width} x {height} to {new_width} x {new_height} pixels.")
    if header.fps > result.fps + 0.01:
        notes.append(f"Reduced from {header.fps:g} to {result.fps:g} frames per second.")
    if header.alpha:
        notes.append("Transparent areas, if any, were placed on white.")
    if decoded_frames(outcome)[1]:
        notes.append("The file is damaged in places; what could not be read is missing or looks wrong.")
    if header.seconds and header.seconds > result.seconds + 0.5:
        notes.append(
            f"The file claims {header.seconds:.1f} s, but its frames last only {result.seconds:.1f} s, which are used."
        )
    return tuple(notes)
