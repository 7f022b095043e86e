"""What stands beside a result: the region that a person painted, carried along the motion; and numbers on quality."""

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image

from editor.diffusion.latents import plan_fit
from editor.events import EditError
from editor.media import Clip
from editor.media.region import MOST_TEXT, region_mask, region_text
from editor.motion import Carried, Keyframes
from editor.request import EditRequest
from editor.stages.quality import LOOKS, Gauge, at_size, looked_at, text_match
from editor.stages.region import in_cells, painted

FRAMES, HEIGHT, WIDTH, SIDE = 9, 72, 128, 24
TEXTURE = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GROUND = np.random.default_rng(4).integers(60, 120, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)


def left_of(i):
    return 8 + 6 * i


def drawn(i):
    """A textured square that moves to the right over a ground, 6 pixels a frame."""
    frame = np.asarray(Image.fromarray(GROUND).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).copy()
    frame[20 : 20 + SIDE, left_of(i) : left_of(i) + SIDE] = TEXTURE
    return frame


def where(i):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20 : 20 + SIDE, left_of(i) : left_of(i) + SIDE] = True
    return mask


def clip(shots=(0,) * FRAMES):
    frames = np.stack([drawn(i) for i in range(FRAMES)])
    keyframes = Keyframes(tuple(range(FRAMES)), shots, FRAMES)
    return Clip(keyframes, fps=4.0, first=4, source_seconds=4.0, source_size=(WIDTH, HEIGHT), drawn=frames)


def picture(tmp_path, mask, name="mask.png"):
    Image.fromarray(mask).save(tmp_path / name)
    return region_text(tmp_path / name)


def asked(text, at):
    return EditRequest(source="a", targets=("b",), region=text, region_at=at).validated()


def test_a_region_follows_what_it_was_painted_on(tmp_path):
    found = painted(clip(), asked(picture(tmp_path, where(4)), at=2.0))  # the clip begins at 1 s
    assert found.shape == (FRAMES, HEIGHT, WIDTH)
    for i, mask in enumerate(found):
        overlap = (mask & where(i)).sum() / (mask | where(i)).sum()
        assert overlap > 0.7, (i, overlap)  # flow is soft at the edges, and a mask is followed frame after frame


def test_other_shots_are_not_painted(tmp_path):
    found = painted(clip(shots=(0,) * 3 + (1,) * 6), asked(picture(tmp_path, where(4)), at=2.0))
    assert not found[:3].any() and found[3:].any(axis=(1, 2)).all()


def test_nothing_painted_is_no_region():
    assert painted(clip(), asked("", at=2.0)) is None


@pytest.mark.parametrize("at", [0.0, 0.8, 3.5])
def test_a_frame_outside_the_interval_is_refused(tmp_path, at):
    with pytest.raises(EditError, match="region-at"):
        painted(clip(), asked(picture(tmp_path, where(4)), at))


def test_a_mask_of_another_shape_is_refused_and_one_of_another_size_is_not(tmp_path):
    assert painted(clip(), asked(picture(tmp_path, where(4).repeat(3, 0).repeat(3, 1)), at=2.0)).any()
    with pytest.raises(EditError, match="proportions"):
        painted(clip(), asked(picture(tmp_path, where(4)[:, :72]), at=2.0))


def test_colours_grey_and_transparency_are_read_as_people_mean_them(tmp_path):
    half = np.zeros((8, 8, 4), np.uint8)
    half[:, :4] = 255  # opaque white; the rest is transparent
    assert np.array_equal(region_mask(picture(tmp_path, half)), half[..., 0] > 0)
    assert region_mask(picture(tmp_path, np.array([[200, 90]], np.uint8).repeat(2, 0))).tolist() == [[True, False]] * 2


def test_an_empty_mask_and_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(EditError, match="empty"):
        picture(tmp_path, np.zeros((8, 8), bool))
    (tmp_path / "text.png").write_text("white")
    for path in (tmp_path / "text.png", tmp_path / "missing.png"):
        with pytest.raises(EditError, match="no picture"):
            region_text(path)


def png(mask):
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "png")
    return out.getvalue()


BOMB = png(np.ones((2, 2), bool))
BOMB = BOMB[:16] + struct.pack(">II", 60_000, 60_000) + BOMB[24:]


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG", BOMB, png(np.ones((8, 8), bool))[:40], b"<svg/>"])
def test_hostile_masks_are_refused(data):
    for text in (base64.b64encode(data).decode(), base64.b64encode(data).decode() + "*"):
        with pytest.raises(EditError, match=r"no mask|empty"):
            asked(text or "*", at=0.0)


def test_a_text_that_is_too_long_is_not_read():
    with pytest.raises(EditError, match="no mask"):
        asked("A" * (MOST_TEXT + 1), at=0.0)


def test_cells_are_painted_where_a_good_part_of_them_is():
    fit = plan_fit(WIDTH, HEIGHT, side=64, multiple=8)
    cells = fit.padded[1] // 8, fit.padded[0] // 8
    everywhere, nowhere = np.ones((1, HEIGHT, WIDTH), bool), np.zeros((1, HEIGHT, WIDTH), bool)
    assert in_cells(everywhere, fit, cells).all() and not in_cells(nowhere, fit, cells).any()
    left = nowhere.copy()
    left[..., : WIDTH // 2] = True
    assert in_cells(left, fit, cells)[0, :, 0].all() and not in_cells(left, fit, cells)[0, :, -1].any()


NOISE = np.random.default_rng(0).integers(0, 200, (5, 24, 32, 3), dtype=np.uint8)


def measured(edit, regions=None, clip=NOISE):
    gauge = Gauge(regions)
    for source, frame in zip(clip, edit, strict=True):
        gauge.add(Carried(source, frame, 0.0, True))
    return gauge.numbers()


def test_the_clip_itself_has_nothing_to_report():
    nowhere = [np.zeros((24, 32), bool)] * 5
    assert measured(NOISE, nowhere) == {"kept_psnr": 99.0, "flicker": 1.0, "sharpness": 1.0}


def test_a_constant_change_inside_the_region_is_neither_flicker_nor_blur():
    region = np.zeros((24, 32), bool)
    region[4:12] = True
    edit = NOISE.copy()
    edit[:, 4:12] += 50
    found = measured(edit, [region] * 5)
    assert found["kept_psnr"] == 99.0 and found["flicker"] == 1.0
    assert measured(edit, [~region] * 5)["kept_psnr"] == pytest.approx(20 * np.log10(255 / 50), abs=0.01)


def test_what_jumps_flickers_and_what_is_blurred_is_softer():
    still = np.repeat(NOISE[:1], 5, axis=0)
    jumping = still.copy()
    jumping[::2] += 20
    slow = np.clip(still + np.arange(5, dtype=np.uint8)[:, None, None, None] ** 2, 0, 255)
    assert measured(jumping, clip=slow)["flicker"] > 5
    assert measured(jumping, clip=still)["flicker"] is None, "a clip that stands still has none to compare with"
    assert measured(np.full_like(NOISE, 7))["sharpness"] == 0.0


def test_there_is_nothing_to_say_without_a_region_or_with_a_single_flat_frame():
    flat = np.full((1, 8, 8, 3), 9, np.uint8)
    assert measured(flat, clip=flat) == {"kept_psnr": None, "flicker": None, "sharpness": None}


@pytest.mark.parametrize("keyframes", [1, 2, LOOKS, 9, 100])
def test_a_few_keyframes_of_the_whole_clip_are_looked_at(keyframes):
    chosen = looked_at(keyframes)
    assert {0, keyframes - 1} <= chosen <= set(range(keyframes)) and len(chosen) == min(keyframes, LOOKS)


def test_only_the_keyframes_that_are_wanted_are_kept():
    gauge = Gauge(None, {0, 2})
    for i, (frame, keyframe) in enumerate(zip(NOISE, (True, False, True, False, True), strict=True)):
        gauge.add(Carried(frame, frame + np.uint8(i), 0.0, keyframe))
    assert [int(np.argmax([np.array_equal(own, f) for f in NOISE])) for _, own in gauge.pairs] == [0, 4]
    assert all(np.array_equal(edit, own + np.uint8(i)) for i, (edit, own) in zip((0, 4), gauge.pairs, strict=True))


class Believer:
    """Scores every frame by how bright it is, whatever the sentence says, minus the sentence's length."""

    name = "believer"

    def __call__(self, frames, prompt):
        return {"clip_text": float(frames.mean()) - len(prompt)}


def test_the_match_of_a_result_is_relative_to_the_clips_own():
    frames = [(np.full((4, 4, 3), 31, np.uint8), np.full((4, 4, 3), 44, np.uint8))] * 2
    found = text_match(Believer(), frames, target="1234", source="12")
    assert found["text_match"] == pytest.approx(27 / 42, abs=1e-4)
    assert found["clip_scores"] == {"model": "believer", "result": 27.0, "clip": 42.0, "frames": 2}
    assert text_match(Believer(), frames, "1234", "1" * 60)["text_match"] is None, (
        "the clip's own sentence is not found"
    )
    assert set(text_match(None, frames, "a", "b").values()) == {None}


def test_a_region_comes_to_the_size_of_the_clip():
    region = at_size(np.array([[True, False], [False, False]]), (8, 4))
    assert region.shape == (4, 8) and region[:2, :4].all() and region.sum() == 8
