"""The clip's own detail: given back where nothing was edited, and nowhere else."""

import numpy as np

from editor.method.detail import ALONE, CHANGED, left_alone, with_detail

SHAPE = (2, 24, 32, 3)


def drawn(seed):
    return np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)


def test_an_edit_that_changes_nothing_gives_the_clip_itself():
    clip, rebuilt = drawn(0), drawn(1)
    share = left_alone(rebuilt, rebuilt, cell=4)
    assert (share == 1).all()
    assert (with_detail(rebuilt, rebuilt, clip, share) == clip).all()


def test_an_edit_that_changes_everything_gets_nothing():
    clip, rebuilt = drawn(0), drawn(1) // 2
    edited = rebuilt + np.uint8(128)
    share = left_alone(edited, rebuilt, cell=4)
    assert (share == 0).all()
    assert (with_detail(edited, rebuilt, clip, share) == edited).all()


def test_the_share_falls_from_one_to_zero_between_the_two_limits():
    flat = np.full(SHAPE, 100, np.uint8)
    for levels, expected in ((0, 1), (int(ALONE), 1), (10, 0.5), (int(CHANGED), 0), (90, 0)):
        assert np.allclose(left_alone(flat + np.uint8(levels), flat, cell=4), expected)


def test_the_difference_is_that_of_the_neighbourhood_of_one_latent_cell():
    flat = np.full(SHAPE, 100, np.uint8)
    dot = flat.copy()
    dot[0, 12, 16] = 200  # 100 levels in one of 25 pixels: 4 levels
    assert (left_alone(dot, flat, cell=4) == 1).all()
    dot[0, 12, 17] = 200
    share = left_alone(dot, flat, cell=4)
    assert np.isclose(share[0, 12, 16], (CHANGED - 8) / (CHANGED - ALONE))
    assert share[0, 12, 14] == 1 and (share[1] == 1).all()


def test_only_the_changed_part_keeps_the_edit_as_it_is():
    clip, rebuilt = drawn(0) // 2 + 60, np.full(SHAPE, 120, np.uint8)
    edited = rebuilt.copy()
    edited[:, :, 16:] = 20
    finished = with_detail(edited, rebuilt, clip, left_alone(edited, rebuilt, cell=4))
    assert (finished[:, :, :13] == clip[:, :, :13]).all()
    assert (finished[:, :, 19:] == 20).all()
