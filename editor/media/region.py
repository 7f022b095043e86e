"""A painted mask of where an edit may act: a small picture of two colours, as text that travels in a request."""

import base64
import binascii
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from editor.events import EditError

SIDE = 160
"""Longer side, in pixels, that a mask is kept at."""
MOST_SIDE = 4096
MOST_TEXT = 8_000
"""Characters of a mask as text."""
_PNG = b"\x89PNG\r\n\x1a\n"
EMPTY = "The region is empty: paint where the edit may act, in white on black."


def region_text(path: Path) -> str:
    """The picture `path`, white (or opaque) where the edit may act, as text. Raises `EditError`."""
    try:
        with Image.open(path) as picture:
            if max(picture.size) > MOST_SIDE:
                raise EditError(
                    f"'{path.name}' is {picture.width} x {picture.height} pixels; up to {MOST_SIDE} are read."
                )
            return _text(_white(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise EditError(
            f"'{path}' is no picture that can be read. Give a PNG, white where the edit may act."
        ) from error


def region_mask(text: str) -> np.ndarray:
    """The mask of a request, bool (h, w), of at most `SIDE` pixels. It may come from anybody. Raises `EditError`."""
    try:
        data = base64.b64decode(text, validate=True) if len(text) <= MOST_TEXT else b""
        if not data.startswith(_PNG) or max(struct.unpack(">II", data[16:24])) > MOST_SIDE:
            raise ValueError
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            mask = _white(picture)
    except (binascii.Error, ValueError, OSError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise EditError(
            "The region is no mask that can be read. Give a PNG with --region, or paint it again."
        ) from error
    if not mask.any():
        raise EditError(EMPTY)
    return mask


def _white(picture: Image.Image) -> np.ndarray:
    """Where a picture is light and opaque, bool (h, w), its longer side at most `SIDE`."""
    whole = Image.new("L", picture.size)
    layers = picture.convert("RGBA")
    whole.paste(layers.convert("L"), mask=layers.getchannel("A"))
    whole.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(whole) >= 128


def _text(mask: np.ndarray) -> str:
    if not mask.any():
        raise EditError(EMPTY)
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "png", optimize=True)
    text = base64.b64encode(out.getvalue()).decode()
    if len(text) > MOST_TEXT:
        raise EditError("The region has too many small parts. Paint it with fewer, larger strokes.")
    return text
