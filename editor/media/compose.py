"""Frames compared: side by side with labels, as a filmstrip, on a contact sheet, and as a number.

Labels use the font inside Pillow, so that no system font is needed; it has Latin letters.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4
"""Pixels between pictures."""
EQUAL_PSNR = 99.0
"""The PSNR, in dB, that stands for frames without any difference."""


def side_by_side(left: np.ndarray, right: np.ndarray, labels: tuple[str, str] = ("original", "edited")) -> np.ndarray:
    """Two frames of equal shape (H, W, 3) next to each other, a label on each: uint8 (H', 2W + gap, 3).

    Height and width of the result are even, as H.264 wants them; one row or column may be repeated for that.
    Raises `ValueError` when the shapes differ.
    """
    if left.shape != right.shape:
        raise ValueError(f"side by side needs equal shapes, not {left.shape} and {right.shape}")
    height, width, _ = left.shape
    both = np.full((height, 2 * width + GAP, 3), 255, np.uint8)
    margin = max(2, height // 60)
    for offset, frame, text in ((0, left, labels[0]), (width + GAP, right, labels[1])):
        both[:, offset : offset + width] = frame
        plate = label_image(text, height)[: height - margin, : width - margin]
        place = both[margin : margin + plate.shape[0], offset + margin : offset + margin + plate.shape[1]]
        share = plate[..., 3:].astype(np.float32) / 255
        place[:] = (share * plate[..., :3] + (1 - share) * place).round()
    return even(both[None])[0]


def even(frames: np.ndarray) -> np.ndarray:
    """(F, H, W, 3) with the last row and column repeated where height or width is odd."""
    _, height, width, _ = frames.shape
    if height % 2 == 0 and width % 2 == 0:
        return frames
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


@lru_cache(maxsize=32)
def label_image(text: str, height: int) -> np.ndarray:
    """White text on a half transparent dark plate, uint8 (h, w, 4), sized for a picture of `height` pixels."""
    font = ImageFont.load_default(max(10, height // 20))
    pad = max(3, height // 100)
    left, top, right, bottom = font.getbbox(text)
    plate = Image.new("RGBA", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), (0, 0, 0, 150))
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, font=font, fill=(255, 255, 255, 255))
    return np.asarray(plate)


def filmstrip(frames: np.ndarray, columns: int | None = None) -> np.ndarray:
    """All frames (F, h, w, 3) in rows of `columns` (all in one row by default), white between them: uint8 (H, W, 3)."""
    count, height, width, _ = frames.shape
    columns = min(columns or count, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, frame in enumerate(frames):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = frame
    return sheet


def contact_sheet(rows: Mapping[str, np.ndarray], columns: int = 8, height: int = 128) -> np.ndarray:
    """One labelled row per clip, with up to `columns` frames spread evenly over it: uint8 (H, W, 3).

    `rows` maps a label to frames (F, H, W, 3); all are drawn `height` pixels high.
    """
    strips = [_labelled_row(label, frames, columns, height) for label, frames in rows.items()]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(s, ((0, GAP), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips]
    return np.concatenate(padded)[:-GAP]


def _labelled_row(label: str, frames: np.ndarray, columns: int, height: int) -> np.ndarray:
    picks = np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)
    width = max(1, round(frames.shape[2] * height / frames.shape[1]))
    row = Image.fromarray(filmstrip(resized(frames[picks], (width, height))))
    plate = Image.fromarray(label_image(label, max(height, 200)))
    row.paste(plate, (2, 2), plate)
    return np.asarray(row)


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames (F, H, W, 3) at `size` (width, height), by Lanczos."""
    if (frames.shape[2], frames.shape[1]) == size:
        return frames
    pictures = [Image.fromarray(frame) for frame in frames]  # a gap of 2 shrinks in two steps, faster and as sharp
    return np.stack([np.asarray(p.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)) for p in pictures])


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Peak signal-to-noise ratio in dB of uint8 arrays of equal shape, 10 log10(255^2 / MSE), higher is more alike.

    The squared error (Huynh-Thu and Ghanbari 2008) is the mean over all frames, pixels and colours, or over the pixels
    of the boolean `mask`; None when the mask is empty.
    """
    total, count = 0.0, 0
    for i in range(len(a)):  # a frame at a time: in float64 a long clip is large; sums of whole numbers stay exact
        error = (a[i].astype(np.float64) - b[i]) ** 2
        chosen = error if mask is None else error[mask[i]]
        total, count = total + float(chosen.sum()), count + chosen.size
    if not count:
        return None
    mean = total / count
    return EQUAL_PSNR if mean == 0 else float(min(EQUAL_PSNR, 10 * np.log10(255.0**2 / mean)))
