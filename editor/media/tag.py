"""A text inside a video or a GIF: written by ffmpeg or as a GIF's comment, read by walking the file's own structure.

What is read may come from anybody: no decoder is started for it, every length is checked, and no more than the text
itself is kept in memory.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from editor.events import DISK_FULL, EditError
from editor.media.ffmpeg import run
from editor.media.files import replacing

MOST_BYTES = 100_000
"""Of a text that is written; a command line takes no longer one."""
MOST_READ = 1_000_000
MOST_PARTS = 2_000
"""Boxes or blocks that are looked at before the search is given up."""
_WAY = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")
"""Where QuickTime and MP4 keep the comment, box within box."""
_SKIPPED = {b"meta": 4, b"data": 8}
"""Bytes that stand before what such a box holds: its version, or the kind and the language of its text."""

Part = tuple[bytes, int, int]
"""Kind, first byte and end of what a box holds."""


def tag_video(path: Path, text: str, description: str) -> None:
    """Write `text` as the comment of the MP4 `path`, and `description` for people; pictures and sound stay as they are.

    Raises `EditError` when the disk is full or the file cannot be read, `ValueError` for a text of over `MOST_BYTES`.
    """
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(f"a tag has at most {MOST_BYTES} bytes")
    with replacing(path) as temporary:
        outcome = run(
            [
                *("-y", "-loglevel", "error", "-i", f"file:{path.absolute()}", "-map", "0", "-c", "copy"),
                *("-map_metadata", "-1", "-metadata", f"comment={text}", "-metadata", f"description={description}"),
                *("-movflags", "+faststart", "-f", "mp4", f"file:{temporary.absolute()}"),
            ]
        )
        if outcome.disk_full:
            raise EditError(DISK_FULL)
        if outcome.code != 0:
            raise EditError("The finished video could not be given its settings. Please try again.")


def tagged_gif(gif: bytes, text: str) -> bytes:
    """The GIF with `text` as its comment, before the first frame."""
    said, end = text.encode(), _gif_start(gif)
    blocks = b"".join(bytes([len(part)]) + part for part in (said[i : i + 255] for i in range(0, len(said), 255)))
    return gif[:end] + b"\x21\xfe" + blocks + b"\0" + gif[end:]


def read_tag(path: Path) -> str | None:
    """The comment of an MP4, QuickTime or GIF file, which may be hostile; None where there is none that can be read."""
    with path.open("rb") as file:
        head = file.read(16)
        size = path.stat().st_size
        try:
            found = _gif_comment(file) if head.startswith((b"GIF87a", b"GIF89a")) else _box_comment(file, size)
            return found.decode("utf-8") if found else None
        except (EOFError, UnicodeDecodeError, struct.error):
            return None


def _box_comment(file: IO[bytes], size: int) -> bytes | None:
    parts: list[Part] = [(b"", 0, size)]
    for wanted in _WAY:
        parts = [part for _, start, end in parts for part in _boxes(file, start, end) if part[0] == wanted]
    for _, start, end in parts:
        if end - start <= MOST_READ:
            file.seek(start)
            return file.read(end - start)
    return None


def _boxes(file: IO[bytes], start: int, end: int) -> Iterator[Part]:
    """The boxes between two places of the file, as far as they are whole."""
    for _ in range(MOST_PARTS):
        if start + 8 > end:
            return
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if length == 1:
            (length,), head = struct.unpack(">Q", file.read(8)), 16
        elif length == 0:  # to the end
            length = end - start
        if length < head or start + length > end:
            return
        yield kind, min(start + head + _SKIPPED.get(kind, 0), start + length), start + length
        start += length


def _gif_start(gif: bytes) -> int:
    """Where the blocks of a GIF begin: after its header and its colours."""
    flags = gif[10]
    return 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)


def _gif_comment(file: IO[bytes]) -> bytes | None:
    """The comment before the first frame."""
    file.seek(0)
    head = file.read(13)
    if len(head) < 13:
        return None
    file.seek(_gif_start(head))
    for _ in range(MOST_PARTS):
        mark, kind = file.read(1), file.read(1)
        if mark != b"\x21":  # the first frame, the end, or no GIF
            return None
        said = _sub_blocks(file)
        if kind == b"\xfe":
            return said
    return None


def _sub_blocks(file: IO[bytes]) -> bytes:
    """What the small blocks hold up to the empty one. Raises `EOFError` where the file ends before or is too long."""
    said = bytearray()
    while True:
        (length,) = file.read(1) or (-1,)
        if length == 0:
            return bytes(said)
        part = file.read(length) if length > 0 else b""
        if not part or len(part) < length or len(said) > MOST_READ:
            raise EOFError
        said += part
