"""Uploads that are hostile, broken or merely odd: each is accepted right or refused in plain words.

Two traps stand beside every upload: `canary.mp4`, a pure red clip, and a listening port. No upload is mostly red, so
a red result, or a connection, means that a file talked ffmpeg into opening something else.
"""

import os
import re
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from editor.events import EditError
from editor.media import Limits, Probe, normalise, read_clip
from editor.media.ffmpeg import Bounds
from tests.media.footage import (
    AAC,
    COUNTING,
    H264,
    MOVING,
    TONE,
    ffmpeg,
    lavfi,
    loudness,
    moving,
    numbers,
    summary,
    talking,
)

BLUE = "color=0x2040C0:size=64x48:rate=10:duration=1"
BOUNDS = Bounds(cpu_seconds=20, wall_seconds=60.0)  # a hang ends in "takes too long", which no test expects
LIMITS = Limits(seconds=5.0, bounds=BOUNDS)


@dataclass(frozen=True)
class Traps:
    """What no upload may lead to."""

    canary: Path
    listener: socket.socket

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/canary.mp4"

    def connected(self) -> bool:
        """Whether anybody called."""
        try:
            self.listener.accept()
        except BlockingIOError:
            return False
        return True


@pytest.fixture(scope="module")
def red(tmp_path_factory) -> Path:
    """The canary, with its index in front, so that it can be opened through any kind of reference."""
    path = tmp_path_factory.mktemp("red") / "canary.mp4"
    return moving(path, *H264, "-movflags", "+faststart", source=BLUE.replace("0x2040C0", "red"))


@pytest.fixture
def traps(tmp_path, red) -> Iterator[Traps]:
    canary = tmp_path / "canary.mp4"
    canary.write_bytes(red.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Traps(canary, listener)


def take(raw: Path, traps: Traps, limits: Limits = LIMITS) -> Probe:
    """Normalise an upload and check what must hold whatever it is. Raises what `normalise` raises."""
    out = raw.parent / "result" / "clip.mp4"
    out.parent.mkdir()
    before = {path: path.stat().st_mtime_ns for path in raw.parent.rglob("*") if path.is_file()}
    try:
        result = normalise(raw, out, limits)
    except EditError as refusal:
        _is_written_for_people(str(refusal))
        assert os.listdir(out.parent) == []
        raise
    finally:
        assert not traps.connected()
        after = {path: path.stat().st_mtime_ns for path in raw.parent.rglob("*") if path.is_file() and path != out}
        assert after == before
    assert os.listdir(out.parent) == ["clip.mp4"]
    _is_playable(out, result)
    return result


def _is_written_for_people(text: str) -> None:
    assert text[0].isupper() and text.endswith(".")
    assert len(text) < 250
    for jargon in ("Traceback", "ffmpeg", "Error", "0x", "/tmp", "codec", "stderr", "exit"):
        assert jargon not in text


def _is_playable(out: Path, result: Probe) -> None:
    """Every frame decodes, none shows the canary, and the file is what the rest of the program relies on."""
    frames = read_clip(out, max_frames=200, key_fps=result.fps).frames
    assert len(frames) == result.frames >= 1
    assert frames.shape[1:3] == (result.size[1], result.size[0])
    assert result.seconds == pytest.approx(result.frames / result.fps)
    assert not is_red(frames)
    text = summary(out)
    assert "Video: h264" in text and "yuv420p(tv, bt709" in text and "[SAR 1:1" in text
    assert ("Audio: aac" in text) == result.has_audio
    assert text.count("  Stream #") == 1 + result.has_audio
    assert "rotation of" not in text


def is_red(frames: np.ndarray) -> bool:
    """Whether any frame is mostly the canary's red."""
    r, g, b = np.moveaxis(frames.astype(int), -1, 0)
    return bool(((r > 200) & (g < 60) & (b < 60)).mean(axis=(1, 2)).max() > 0.5)


def test_the_canary_would_be_seen(traps) -> None:
    """The traps can fail: the canary itself, uploaded, is recognised, and so is a call."""
    with pytest.raises(AssertionError):
        take(traps.canary, traps)
    with socket.create_connection(traps.listener.getsockname()):
        assert traps.connected()


# --- Files that name other files -------------------------------------------------------------------------------------


def playlist(folder: Path, traps: Traps) -> bytes:
    return b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\ncanary.mp4\n#EXT-X-ENDLIST\n"


def playlist_with_absolute_path(folder: Path, traps: Traps) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfile://{traps.canary}\n#EXT-X-ENDLIST\n".encode()


def playlist_with_address(folder: Path, traps: Traps) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{traps.url}\n#EXT-X-ENDLIST\n".encode()


def playlist_with_nested_protocol(folder: Path, traps: Traps) -> bytes:
    return (
        f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\nconcat:{traps.canary}|{traps.url}\n#EXT-X-ENDLIST\n".encode()
    )


def concat_script(folder: Path, traps: Traps) -> bytes:
    return b"ffconcat version 1.0\nfile canary.mp4\nfile canary.mp4\n"


def manifest_dash(folder: Path, traps: Traps) -> bytes:
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" minBufferTime="PT1S"
 profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1000"><BaseURL>{traps.url}</BaseURL></Representation>
</AdaptationSet></Period></MPD>""".encode()


def session_description(folder: Path, traps: Traps) -> bytes:
    media = b"m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    return b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n" + media


def smooth_streaming(folder: Path, traps: Traps) -> bytes:
    return f'<smil><body><video src="{traps.url}"/></body></smil>'.encode()


def vector_picture(folder: Path, traps: Traps) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"><image href="{traps.url}"/></svg>'.encode()


REFERRING = (
    playlist,
    playlist_with_absolute_path,
    playlist_with_address,
    playlist_with_nested_protocol,
    concat_script,
    manifest_dash,
    session_description,
    smooth_streaming,
    vector_picture,
)


@pytest.mark.parametrize("content", REFERRING, ids=lambda f: f.__name__)
def test_files_that_name_other_files_are_not_videos(tmp_path, traps, content: Callable) -> None:
    raw = tmp_path / "upload.mp4"
    raw.write_bytes(content(tmp_path, traps))
    with pytest.raises(EditError, match="not a video that can be read"):
        take(raw, traps)


def test_a_renamed_playlist_is_not_recognised_by_its_ending_either(tmp_path, traps) -> None:
    raw = tmp_path / "upload.m3u8"
    raw.write_bytes(playlist(tmp_path, traps))
    with pytest.raises(EditError, match="not a video that can be read"):
        take(raw, traps)


def with_external_reference(movie: bytes, target: Path) -> bytes:
    """A movie whose samples are said to lie in another file: its 'url ' entry becomes an alias record to `target`."""
    name = str(target).encode()
    record = bytearray(150)  # the fixed part of an alias record, as QuickTime writes it
    struct.pack_into(">H", record, 4, 150)
    record[10:14] = b"\x03can"  # volume, then name, as counted strings
    record[50 : 51 + len(target.name)] = bytes([len(target.name)]) + target.name.encode()
    items = struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2)  # 2: absolute path
    items += struct.pack(">HH", 18, len(name)) + name + b"\0" * (len(name) % 2)  # 18: POSIX path
    body = b"alis" + b"\0\0\0\0" + bytes(record) + items + struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I", len(body) + 4) + body
    old = struct.pack(">I", 12) + b"url \0\0\0\1"
    at = movie.index(old)
    grown = movie[:at] + entry + movie[at + len(old) :]
    return enlarge(grown, at, len(entry) - len(old), (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"))


def enlarge(movie: bytes, inside: int, by: int, path: tuple[bytes, ...]) -> bytes:
    """Add `by` to the sizes of the boxes around offset `inside`, outermost first."""
    result = bytearray(movie)
    for kind in path:
        at = movie.rindex(kind, 0, inside) - 4
        struct.pack_into(">I", result, at, struct.unpack_from(">I", movie, at)[0] + by)
    return bytes(result)


def test_a_movie_whose_pictures_lie_in_another_file_does_not_get_them(tmp_path, traps) -> None:
    """The canary's own index, its media blanked, pointing at the canary at the right offsets."""
    movie = traps.canary.read_bytes()
    media = movie.index(b"mdat") + 4
    referring = with_external_reference(movie[:media], traps.canary) + bytes(len(movie) - media)
    raw = tmp_path / "upload.mov"
    raw.write_bytes(referring)
    with pytest.raises(EditError):
        take(raw, traps)


def test_the_external_reference_is_one_that_ffmpeg_can_follow(tmp_path, traps) -> None:
    """Otherwise the test above would prove nothing: told to, ffmpeg does fetch the canary's red."""
    movie = traps.canary.read_bytes()
    media = movie.index(b"mdat") + 4
    (tmp_path / "upload.mov").write_bytes(
        with_external_reference(movie[:media], traps.canary) + bytes(len(movie) - media)
    )
    allowed = ("-enable_drefs", "1", "-use_absolute_path", "1")
    ffmpeg(*allowed, "-i", tmp_path / "upload.mov", *H264, tmp_path / "followed.mp4")
    assert is_red(read_clip(tmp_path / "followed.mp4").frames)


# --- Files that are no clips -----------------------------------------------------------------------------------------


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip.mp4", b"0" * 5000)


def write_picture(path: Path, form: str) -> None:
    Image.new("RGB", (64, 48), "blue").save(path, format=form)


def write_moving_picture(path: Path, form: str) -> None:
    frames = [Image.new("RGB", (64, 48), (0, 0, shade)) for shade in (50, 100, 150)]
    frames[0].save(path, format=form, save_all=True, append_images=frames[1:])


NO_VIDEOS = {
    "text": lambda path: path.write_text("hello " * 500),
    "html": lambda path: path.write_text("<!doctype html><html><body><video src=x></video></body></html>"),
    "random bytes": lambda path: path.write_bytes(np.random.default_rng(0).bytes(20_000)),
    "zip": write_zip,
    "png": lambda path: write_picture(path, "PNG"),
    "jpeg": lambda path: write_picture(path, "JPEG"),
    "animated webp": lambda path: write_moving_picture(path, "WEBP"),
    "animated png": lambda path: write_moving_picture(path, "PNG"),
    "subtitles": lambda path: path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    "wav": lambda path: ffmpeg(*lavfi(TONE), "-f", "wav", path),
    "mp3": lambda path: ffmpeg(*lavfi(TONE), "-f", "mp3", path),
    "raw h264": lambda path: ffmpeg(*lavfi(MOVING), *H264, "-f", "h264", path),
    "raw frames": lambda path: ffmpeg(*lavfi(MOVING), "-f", "yuv4mpegpipe", "-pix_fmt", "yuv420p", path),
    "head of an mp4": lambda path: path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"),
    "mp4 with boxes of absurd size": lambda path: path.write_bytes(
        b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\xff\xff\xff\xffmoov" + b"\xff\xff\xff\xf0mvhd" * 200
    ),
}


@pytest.mark.parametrize("kind", NO_VIDEOS)
def test_what_is_no_video_is_refused(tmp_path, traps, kind) -> None:
    raw = tmp_path / "upload.mp4"
    NO_VIDEOS[kind](raw)
    with pytest.raises(EditError, match=r"not a video that can be read|no picture and no sound"):
        take(raw, traps)


def test_an_empty_file(tmp_path, traps) -> None:
    (tmp_path / "upload.mp4").touch()
    with pytest.raises(EditError, match="The file is empty"):
        take(tmp_path / "upload.mp4", traps)


def test_a_file_that_is_not_there(tmp_path, traps) -> None:
    with pytest.raises(EditError, match=r"no file 'upload\.mp4'"):
        take(tmp_path / "upload.mp4", traps)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_nobody_fills_is_not_waited_for(tmp_path, traps) -> None:
    os.mkfifo(tmp_path / "upload.mp4")
    with pytest.raises(EditError, match="no file"):
        take(tmp_path / "upload.mp4", traps)


def test_a_file_over_the_size_limit_is_not_opened(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4")
    raw.write_bytes(raw.read_bytes() + bytes(2 * 2**20))
    with pytest.raises(EditError, match=r"The file is 2\.0\d MB; up to 1 MB is allowed"):
        take(raw, traps, Limits(upload_bytes=2**20, bounds=BOUNDS))


def test_sound_alone(tmp_path, traps) -> None:
    ffmpeg(*lavfi(TONE), *AAC, tmp_path / "upload.m4a")
    with pytest.raises(EditError, match="only sound, no video"):
        take(tmp_path / "upload.m4a", traps)


def test_sound_with_a_cover_is_not_a_clip(tmp_path, traps) -> None:
    write_picture(tmp_path / "cover.jpg", "JPEG")
    inputs = (*lavfi(TONE), "-i", tmp_path / "cover.jpg", "-map", "0", "-map", "1")
    ffmpeg(*inputs, *AAC, "-c:v", "copy", "-disposition:v", "attached_pic", tmp_path / "upload.m4a")
    with pytest.raises(EditError, match="only sound, no video"):
        take(tmp_path / "upload.m4a", traps)


# --- Claims: tiny files that say they are huge -----------------------------------------------------------------------


def giant_gif() -> bytes:
    """One frame of 12000 x 12000 in a hundred bytes."""
    size = struct.pack("<HH", 12000, 12000)
    image = b"\x2c" + struct.pack("<HH", 0, 0) + size + b"\0" + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + size + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff" + image * 3 + b"\x3b"


def test_a_picture_of_12000_by_12000_pixels(tmp_path, traps) -> None:
    (tmp_path / "upload.gif").write_bytes(giant_gif())
    with pytest.raises(EditError, match=r"12000 x 12000 pixels; up to 8\.9 million"):
        take(tmp_path / "upload.gif", traps)


def test_an_mp4_that_claims_16000_by_16000_pixels(tmp_path, traps) -> None:
    """The box that describes the coding is changed; the coded pictures stay small."""
    movie = bytearray(moving(tmp_path / "small.mp4", "-c:v", "mpeg4").read_bytes())
    at = movie.index(b"mp4v") + 4 + 24
    assert struct.unpack_from(">HH", movie, at) == (64, 48)
    struct.pack_into(">HH", movie, at, 16000, 16000)
    (tmp_path / "upload.mp4").write_bytes(movie)
    try:
        assert take(tmp_path / "upload.mp4", traps).size == (64, 48)  # the claim was not believed
    except EditError as refusal:
        assert "16000 x 16000" in str(refusal)  # it was believed, and refused


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_138_hours_in_a_few_bytes(tmp_path, traps, ending) -> None:
    raw = tmp_path / f"upload.{ending}"
    apart = "settb=1/1000" + (",setpts='if(N,500000/TB,0)'" if ending != "avi" else "")
    drawn = (*lavfi("color=blue:size=64x48:rate=1:duration=2"), "-vf", apart, "-fps_mode", "passthrough", *H264)
    ffmpeg(*drawn, *(("-video_track_timescale", "1000") if ending == "mp4" else ()), raw)
    if ending == "avi":  # here the claim is a number in the header: microseconds per frame
        movie = bytearray(raw.read_bytes())
        at = movie.index(b"strh") + 8 + 20
        struct.pack_into("<II", movie, at, 250_000, 1)  # scale and rate of the stream: 250000 s a frame
        raw.write_bytes(movie)
    with pytest.raises(EditError, match=r"13\d h long; up to 5 s"):
        take(raw, traps)


def test_a_gap_of_hours_that_the_header_does_not_mention(tmp_path, traps) -> None:
    """At a constant rate it would be filled with 50 000 repeated frames."""
    gap = "settb=1/1000,setpts='if(gt(N,9),PTS+5000/TB,PTS)'"
    drawn = (*lavfi("color=blue:size=64x48:rate=10:duration=2"), "-vf", gap, "-fps_mode", "passthrough")
    ffmpeg(*drawn, "-c:v", "libvpx", "-live", "1", tmp_path / "upload.webm")
    assert "Duration: N/A" in summary(tmp_path / "upload.webm")
    with pytest.raises(EditError, match="longer than the 5 s"):
        take(tmp_path / "upload.webm", traps)


def test_a_clip_that_is_too_long(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4", source=MOVING.replace("duration=1", "duration=8"))
    with pytest.raises(EditError, match="8 s long; up to 5 s are allowed"):
        take(raw, traps)


def test_a_clip_that_is_too_long_and_does_not_say_so(tmp_path, traps) -> None:
    ffmpeg(*lavfi(MOVING.replace("duration=1", "duration=8")), "-c:v", "libvpx", "-live", "1", tmp_path / "upload.webm")
    assert "Duration: N/A" in summary(tmp_path / "upload.webm")
    with pytest.raises(EditError, match="longer than the 5 s"):
        take(tmp_path / "upload.webm", traps)


@pytest.mark.parametrize(("size", "words"), [("8x8", "each side needs at least 16"), ("1600x32", "too long and thin")])
def test_shapes_that_cannot_be_edited(tmp_path, traps, size, words) -> None:
    raw = moving(tmp_path / "upload.mp4", source=f"color=blue:size={size}:rate=10:duration=0.5")
    with pytest.raises(EditError, match=words):
        take(raw, traps)


def test_work_without_end_is_stopped(tmp_path, traps) -> None:
    """Noise is the most work there is to code: these 2 s take more than the one second of processor time allowed."""
    noise = "color=gray:size=640x480:rate=30:duration=2,noise=alls=100:allf=t,format=yuv420p"
    ffmpeg(*lavfi(noise), "-c:v", "rawvideo", tmp_path / "upload.avi")
    with pytest.raises(EditError, match="takes too long"):
        take(tmp_path / "upload.avi", traps, Limits(bounds=Bounds(cpu_seconds=1, wall_seconds=60)))


def test_a_header_that_is_never_done_is_stopped(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4")
    with pytest.raises(EditError, match="takes too long"):
        take(raw, traps, Limits(bounds=Bounds(wall_seconds=0.001)))  # too short even to start a process


def test_a_result_that_grows_too_large_is_stopped(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4", source="testsrc2=size=320x240:rate=30:duration=2")
    with pytest.raises(EditError, match="becomes too large"):
        take(raw, traps, Limits(bounds=Bounds(file_bytes=20_000)))


# --- Damage ----------------------------------------------------------------------------------------------------------


def test_cut_off_before_its_index(tmp_path, traps) -> None:
    content = moving(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "upload.mp4").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(EditError, match=r"not a video that can be read|damaged"):
        take(tmp_path / "upload.mp4", traps)


def test_cut_off_after_its_index(tmp_path, traps) -> None:
    content = moving(tmp_path / "whole.mp4", *H264, "-g", "2", "-movflags", "+faststart").read_bytes()
    (tmp_path / "upload.mp4").write_bytes(content[: len(content) * 2 // 3])
    result = take(tmp_path / "upload.mp4", traps)
    assert 2 <= result.frames < 10


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_in_the_middle(tmp_path, traps, seed) -> None:
    content = bytearray(talking(tmp_path / "whole.mkv", "-g", "5").read_bytes())
    for at in np.random.default_rng(seed).integers(len(content) // 3, len(content), 40):
        content[at] ^= 0xFF
    (tmp_path / "upload.mkv").write_bytes(content)
    try:
        assert take(tmp_path / "upload.mkv", traps).frames >= 2
    except EditError as refusal:
        assert "damaged" in str(refusal)


def test_damaged_places_are_said(tmp_path, traps) -> None:
    content = bytearray(moving(tmp_path / "whole.mp4", *H264, "-g", "5", "-movflags", "+faststart").read_bytes())
    middle = (content.index(b"mdat") + len(content)) // 2
    content[middle : middle + 200] = b"\xff" * 200
    (tmp_path / "upload.mp4").write_bytes(content)
    assert any("damaged in places" in note for note in take(tmp_path / "upload.mp4", traps).notes)


def test_pictures_that_cannot_be_decoded(tmp_path, traps) -> None:
    content = bytearray(moving(tmp_path / "whole.mp4", *H264, "-movflags", "+faststart").read_bytes())
    media = content.index(b"mdat") + 4
    content[media:] = np.random.default_rng(0).bytes(len(content) - media)
    (tmp_path / "upload.mp4").write_bytes(content)
    with pytest.raises(EditError, match="damaged"):
        take(tmp_path / "upload.mp4", traps)


def test_sound_that_cannot_be_decoded_is_left_out_and_that_is_said(tmp_path, traps) -> None:
    content = bytearray(talking(tmp_path / "whole.mp4").read_bytes())
    for known, unknown in ((b"mp4a", b"xyzw"), (b"esds", b"free")):  # a coding that nobody knows
        content[content.index(known) : content.index(known) + 4] = unknown
    (tmp_path / "upload.mp4").write_bytes(content)
    result = take(tmp_path / "upload.mp4", traps)
    assert not result.has_audio and result.frames == 10
    assert "The sound could not be read and was left out." in result.notes


@pytest.mark.parametrize("seconds", [0.1, 4.0])
def test_a_single_frame_however_long_it_stands(tmp_path, traps, seconds) -> None:
    raw = moving(tmp_path / "upload.mp4", source=f"color=blue:size=64x48:rate={1 / seconds}:duration={seconds}")
    result = take(raw, traps)
    assert result.seconds == pytest.approx(seconds, abs=0.1) and result.frames == max(1, seconds)


# --- Odd, and right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("angle", "size"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64)), (0, (64, 48))])
def test_a_phone_held_upright(tmp_path, traps, angle, size) -> None:
    """Left half blue, right half grey, turned: the blue must be where a phone shows it."""
    moving(tmp_path / "flat.mp4", source=f"{BLUE},drawbox=x=32:width=32:color=gray:thickness=fill")
    ffmpeg("-display_rotation", angle, "-i", tmp_path / "flat.mp4", "-c", "copy", tmp_path / "upload.mp4")
    result = take(tmp_path / "upload.mp4", traps)
    assert (result.size, result.source_size, result.rotated) == (size, size, angle != 0)
    frame = read_clip(tmp_path / "result" / "clip.mp4").frames[0].astype(int)
    blue = frame[..., 2] - frame[..., 0] > 60
    rows, columns = np.nonzero(blue)
    place = {0: columns.max() < 34, 180: columns.min() > 30, 90: rows.min() > 30, 270: rows.max() < 34}
    assert place[angle] and 0.4 < blue.mean() < 0.6


def test_a_rate_that_varies(tmp_path, traps) -> None:
    """Frames 0 to 4 at 10 a second, then 5 to 9 at 5: at a constant rate each stands as long as it did."""
    slowing = "settb=1/1000,setpts='if(gt(N,5),0.5+(N-5)*0.2,N*0.1)/TB'"
    ffmpeg(*lavfi(COUNTING), "-vf", slowing, "-fps_mode", "passthrough", *H264, tmp_path / "upload.mp4")
    result = take(tmp_path / "upload.mp4", traps)
    assert result.fps == 10.0
    shown = numbers(read_clip(tmp_path / "result" / "clip.mp4", key_fps=10.0, max_frames=30).frames)
    assert shown[:14] == [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9]


def test_webm_without_a_duration(tmp_path, traps) -> None:
    ffmpeg(*lavfi(BLUE), *lavfi(TONE), "-c:v", "libvpx", "-c:a", "libopus", "-live", "1", tmp_path / "upload.webm")
    assert "Duration: N/A" in summary(tmp_path / "upload.webm")
    result = take(tmp_path / "upload.webm", traps)
    assert result.seconds == pytest.approx(1.0, abs=0.11) and result.has_audio


def test_transparent_parts_are_white(tmp_path, traps) -> None:
    clear = f"{BLUE},format=rgba,geq=r=0:g=0:b=255:a='if(lt(X,32),0,255)'"
    ffmpeg(*lavfi(clear), "-c:v", "qtrle", tmp_path / "upload.mov")
    result = take(tmp_path / "upload.mov", traps)
    frame = read_clip(tmp_path / "result" / "clip.mp4").frames[0]
    assert frame[:, :28].min() > 245 and frame[:, 36:, 0].max() < 20
    assert any("on white" in note for note in result.notes)


def test_gif(tmp_path, traps) -> None:
    ffmpeg(*lavfi(MOVING), tmp_path / "upload.gif")
    assert take(tmp_path / "upload.gif", traps).frames == 10


@pytest.mark.parametrize("form", ["yuv420p10le", "yuv444p", "gray"])
def test_ten_bits_and_other_pixel_formats(tmp_path, traps, form) -> None:
    raw = moving(tmp_path / "upload.mp4", *H264[:-1], form, source=COUNTING)
    assert take(raw, traps).frames == 10
    assert numbers(read_clip(tmp_path / "result" / "clip.mp4", key_fps=10.0).frames) == list(range(10))


def test_hdr_is_brought_to_standard_range(tmp_path, traps) -> None:
    """PQ codes white of 203 nits as 573 of 1023. Taken for SDR, it would be a grey of 148."""
    tags = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=none"
    white = "nullsrc=size=64x48:rate=10:duration=1,format=yuv420p10le,geq=lum=573:cb=512:cr=512"
    ffmpeg(*lavfi(white), "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", tags, tmp_path / "upload.mp4")
    assert not take(tmp_path / "upload.mp4", traps).notes
    assert read_clip(tmp_path / "result" / "clip.mp4").frames.mean() > 215


@pytest.mark.parametrize(("size", "even"), [("65x49", (64, 48)), ("71x47", (72, 48)), ("63x97", (64, 96))])
def test_odd_sizes_become_even(tmp_path, traps, size, even) -> None:
    raw = moving(tmp_path / "upload.mkv", "-c:v", "ffv1", source=MOVING.replace("64x48", size))
    result = take(raw, traps)
    assert all(abs(a - b) <= 1 for a, b in zip(result.size, even, strict=True))
    assert result.size[0] % 2 == result.size[1] % 2 == 0
    assert result.notes == ()


def test_pixels_that_are_not_square(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4", source=f"{MOVING},setsar=2")
    assert take(raw, traps).size == (128, 48)


def test_large_pictures_are_scaled_down_and_that_is_said(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4", source="color=blue:size=2560x1440:rate=5:duration=0.6")
    result = take(raw, traps)
    assert (result.size, result.source_size) == ((1280, 720), (2560, 1440))
    assert result.notes == ("Scaled down from 2560 x 1440 to 1280 x 720 pixels.",)


def test_many_frames_a_second_are_reduced_and_that_is_said(tmp_path, traps) -> None:
    raw = moving(tmp_path / "upload.mp4", source=MOVING.replace("rate=10", "rate=120"))
    result = take(raw, traps)
    assert (result.fps, result.frames) == (30.0, 30)
    assert result.notes == ("Reduced from 120 to 30 frames per second.",)


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "12.5"])
def test_fractional_rates(tmp_path, traps, rate) -> None:
    raw = moving(tmp_path / "upload.mp4", source=MOVING.replace("rate=10", f"rate={rate}"))
    assert take(raw, traps).seconds == pytest.approx(1.0, abs=0.09)  # one frame of the slowest


NAMES = [
    "Ünïcödé 影片 🎬.mp4",
    "-rf --help.mp4",
    "a:b|c?d=e&f.mp4",
    "%03d_%s.mp4",
    "http:..x.mp4",
    "with 'quotes\".mp4",
    "no_ending",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_names(tmp_path, traps, name) -> None:
    moving(tmp_path / "plain.mp4").rename(tmp_path / name)
    assert take(tmp_path / name, traps).frames == 10


@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_sound_shorter_or_longer_than_the_picture(tmp_path, traps, seconds) -> None:
    raw = talking(tmp_path / "upload.mp4", tone=f"sine=duration={seconds}")
    result = take(raw, traps)
    assert (result.frames, result.seconds, result.has_audio) == (10, 1.0, True)
    level = loudness(tmp_path / "result" / "clip.mp4")
    assert (level > 0.01).sum() * 0.05 == pytest.approx(min(seconds, 1.2), abs=0.3)


def test_sound_that_begins_late_stays_late(tmp_path, traps) -> None:
    talking(tmp_path / "whole.mp4")
    shifted = ("-i", tmp_path / "whole.mp4", "-itsoffset", "0.5", "-i", tmp_path / "whole.mp4")
    ffmpeg(*shifted, "-map", "0:v", "-map", "1:a", "-c", "copy", tmp_path / "upload.mp4")
    take(tmp_path / "upload.mp4", traps)
    loud = np.flatnonzero(loudness(tmp_path / "result" / "clip.mp4") > 0.02)
    assert loud[0] * 0.05 == pytest.approx(0.5, abs=0.06)  # one window of 50 ms


def test_an_edit_list_is_obeyed(tmp_path, traps) -> None:
    """Cut without coding anew, the file holds frames that must not be shown."""
    moving(tmp_path / "whole.mp4", *H264, "-g", "10", source=COUNTING)
    ffmpeg("-ss", "0.4", "-i", tmp_path / "whole.mp4", "-c", "copy", tmp_path / "upload.mp4")
    assert b"elst" in (tmp_path / "upload.mp4").read_bytes()
    take(tmp_path / "upload.mp4", traps)
    assert numbers(read_clip(tmp_path / "result" / "clip.mp4", key_fps=10.0).frames) == [4, 5, 6, 7, 8, 9]


def test_an_edit_list_that_repeats_for_hours(tmp_path, traps) -> None:
    """The one entry of the list claims 138 hours, and so do the headers around it."""
    movie = bytearray(moving(tmp_path / "whole.mp4").read_bytes())
    at = movie.index(b"elst") + 4 + 8
    struct.pack_into(">I", movie, at, 500_000_000)  # in the movie's 1/1000 s
    (tmp_path / "upload.mp4").write_bytes(movie)
    try:
        assert take(tmp_path / "upload.mp4", traps).seconds == pytest.approx(1.0, abs=0.11)
    except EditError as refusal:
        assert "h long" in str(refusal)


def test_subtitles_data_and_attachments_stay_behind(tmp_path, traps) -> None:
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nSECRET-SUBTITLE\n")
    (tmp_path / "font.ttf").write_bytes(b"SECRET-ATTACHMENT" * 10)
    talking(tmp_path / "whole.mp4")
    ffmpeg(
        *("-i", tmp_path / "whole.mp4", "-i", tmp_path / "words.srt", "-c:v", "copy", "-c:a", "copy", "-c:s", "srt"),
        *("-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=font/ttf", "-metadata", "title=SECRET-TITLE"),
        tmp_path / "upload.mkv",
    )
    assert take(tmp_path / "upload.mkv", traps).has_audio
    assert b"SECRET" not in (tmp_path / "result" / "clip.mp4").read_bytes()


def test_several_streams_give_the_first_picture_and_sound(tmp_path, traps) -> None:
    ffmpeg(
        *(
            *lavfi(BLUE),
            *lavfi(COUNTING),
            *lavfi(TONE),
            *lavfi(TONE),
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-map",
            "3",
        ),
        *(*H264, *AAC, tmp_path / "upload.mkv"),
    )
    assert take(tmp_path / "upload.mkv", traps).has_audio
    assert read_clip(tmp_path / "result" / "clip.mp4").frames[0].mean(axis=(0, 1))[2] > 150


def test_a_title_that_imitates_ffmpegs_summary(tmp_path, traps) -> None:
    title = (
        "x\n  Duration: 99:99:99.00, start: 0\n  Stream #0:0: Video: h264, rgba, 9x9, 1 fps\n"
        "      Display Matrix: rotation of 90.00 degrees\nNo space left on device\n"
        "[in#0] Input stream #0:0 (video): 1 packets read; 1 frames decoded; 7 decode errors;\n"
    )
    raw = talking(tmp_path / "upload.mp4", "-metadata", f"title={title}", "-metadata:s:v", f"handler_name={title}")
    result = take(raw, traps)
    assert (result.size, result.frames, result.rotated, result.notes) == ((64, 48), 10, False, ())


def test_a_size_that_changes_on_the_way(tmp_path, traps) -> None:
    """Each part is scaled to the size of the first."""
    moving(tmp_path / "a.ts", source=BLUE)
    moving(tmp_path / "b.ts", source=BLUE.replace("64x48", "96x96"))
    (tmp_path / "upload.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    result = take(tmp_path / "upload.ts", traps)
    assert result.size == (64, 48) and result.frames >= 19


CODINGS = {
    "avi": ("-c:v", "mpeg4"),
    "mpg": ("-c:v", "mpeg2video", "-r", "25", "-flags", "+ildct+ilme"),
    "flv": ("-c:v", "flv1", "-an"),
    "ogv": ("-c:v", "libtheora", "-c:a", "libvorbis"),
    "mov": ("-c:v", "prores", "-c:a", "pcm_s16le"),
    "webm": ("-c:v", "libvpx-vp9", "-c:a", "libopus"),
    "mkv": ("-c:v", "libx265", "-x265-params", "log-level=none", "-c:a", "flac"),
    "3gp": ("-c:v", "mpeg4", "-c:a", "aac"),
    "ts": ("-c:v", "libx264", "-c:a", "mp2"),
}


@pytest.mark.parametrize("ending", CODINGS)
def test_ordinary_formats(tmp_path, traps, ending) -> None:
    raw = tmp_path / f"upload.{ending}"
    ffmpeg(*lavfi(MOVING), *lavfi(TONE), *CODINGS[ending], raw)
    result = take(raw, traps)
    assert result.size == (64, 48)
    assert result.seconds == pytest.approx(1.0, abs=0.11)
    assert result.has_audio == (ending != "flv")
    assert not any(re.search("damaged|left out", note) for note in result.notes)
