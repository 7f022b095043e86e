"""Frames arranged for looking at."""

import numpy as np
import pytest

from editor.media import contact_sheet, filmstrip, psnr, side_by_side
from editor.media.compose import GAP


def shades(count: int, height: int = 60, width: int = 80, step: int = 10) -> np.ndarray:
    """Frame i is flat grey of level 20 + step * i."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = (20 + step * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return frames


def test_side_by_side_keeps_every_pixel_but_the_labels() -> None:
    left, right = shades(3)[2], shades(3, step=7)[1]
    both = side_by_side(left, right)
    assert both.shape == (60, 2 * 80 + GAP, 3)
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[30:, :80], left[30:])
    np.testing.assert_array_equal(both[30:, 80 + GAP :], right[30:])
    assert both[:, 80 : 80 + GAP].min() == 255


def test_each_half_has_its_label_in_its_corner() -> None:
    (frame,) = shades(1, 120, 160)
    both = side_by_side(frame, frame, labels=("before", "after"))
    for half in (both[:, :160], both[:, 160 + GAP :]):
        corner, rest = half[:30, :70], half[30:]
        assert corner.max() > 240  # white letters
        np.testing.assert_array_equal(rest, frame[30:])


def test_frames_smaller_than_a_label_keep_what_fits() -> None:
    (frame,) = shades(1, 16, 16)
    assert side_by_side(frame, frame).shape == (16, 2 * 16 + GAP, 3)


def test_odd_sides_become_even() -> None:
    (odd,) = shades(1, 61, 81)
    assert side_by_side(odd, odd).shape == (62, 2 * 81 + GAP, 3)


def test_unequal_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        side_by_side(shades(1)[0], shades(1, 30)[0])


def test_filmstrip_shows_every_frame_in_order() -> None:
    strip = filmstrip(shades(5, 6, 8))
    assert strip.shape == (6, 5 * (8 + GAP) - GAP, 3)
    assert [strip[3, 4 + i * (8 + GAP), 0] for i in range(5)] == [20, 30, 40, 50, 60]


def test_filmstrip_breaks_into_rows() -> None:
    strip = filmstrip(shades(5, 6, 8), columns=3)
    assert strip.shape == (2 * (6 + GAP) - GAP, 3 * (8 + GAP) - GAP, 3)
    assert strip[6 + GAP, 0, 0] == 50
    assert strip[-1, -1, 0] == 255  # the empty place


def test_contact_sheet_has_a_row_for_each_clip() -> None:
    sheet = contact_sheet({"original": shades(20), "edited": shades(20, step=3)}, columns=4, height=60)
    assert sheet.shape == (2 * 60 + GAP, 4 * (80 + GAP) - GAP, 3)
    assert [sheet[50, 40 + i * (80 + GAP), 0] for i in range(4)] == [20, 80, 150, 210]  # frames 0, 6, 13, 19


def test_contact_sheet_of_clips_of_different_length() -> None:
    sheet = contact_sheet({"a": shades(2), "b": shades(5)}, columns=4, height=60)
    assert sheet.shape[1] == 4 * (80 + GAP) - GAP


def test_psnr_against_the_formula():
    a, b = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert psnr(a, a) == 99.0
    assert psnr(a, b) == 0.0
    assert psnr(a, np.full((2, 2), 1, np.uint8)) == pytest.approx(20 * np.log10(255), abs=1e-9)
