"""How far an edited clip is from the right answer. Clips are uint8 (F, H, W, 3); masks are bool (F, H, W).

Errors in time are in levels of 255. Every metric takes the whole clip and returns one number, or None where it says
nothing: a part that is empty, a change in time of a single frame.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from editor.media import psnr

METRICS = (
    *("psnr", "ssim", "unchanged_psnr", "unchanged_ssim", "changed_psnr", "changed_ssim"),
    *("sharpness", "color_error", "temporal_error", "warp_error", "classified"),
)
"""Every number that is kept of an edit: those of `measure`, and the share of frames that a classifier reads rightly."""


def ssim(edit: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Structural similarity (Wang et al. 2004, IEEE TIP 13(4)), 1 is best; the mean over frames, or over `mask`.

    Gaussian window of sigma 1.5, per colour channel, as in the paper; computed by scikit-image. At the frames' border,
    which scikit-image leaves out of its mean, the map is left out here as well.
    """
    border = 5  # half the 11 x 11 window
    inside = np.zeros(truth.shape[:3], bool)
    inside[:, border:-border, border:-border] = True
    chosen = _ssim_map(edit, truth)[inside if mask is None else inside & mask]
    return float(chosen.mean()) if chosen.size else None


def _ssim_map(edit: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity at every pixel and colour, (F, H, W, 3)."""
    settings = {"channel_axis": -1, "data_range": 255, "gaussian_weights": True, "sigma": 1.5}
    pairs = zip(edit, truth, strict=True)
    return np.stack(
        [structural_similarity(a, b, full=True, use_sample_covariance=False, **settings)[1] for a, b in pairs]
    )


def sharpness(edit: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Gradient energy of the edit divided by the truth's: 1 is as sharp, less is blurred, more has edges or noise.

    Gradient energy is the focus measure of Subbarao et al. 1993 (Optical Engineering 32(11); GRA2 in the comparison of
    Pertuz et al. 2013, Pattern Recognition 46(5)): the sum of squared differences to the next pixel at the right and
    below, here of all colour channels and frames. With a `mask`, of pairs that lie within it. None: the truth is flat.
    """
    wanted = _gradient_energy(truth, mask)
    return _gradient_energy(edit, mask) / wanted if wanted else None


def _gradient_energy(clip: np.ndarray, mask: np.ndarray | None) -> float:
    """Sum of squared differences of neighbours, to the right and down."""
    total = 0.0
    for axis in (1, 2):
        change = np.diff(clip.astype(np.float64), axis=axis) ** 2
        if mask is not None:
            pairs = np.moveaxis(mask, axis, 0)
            change = change[np.moveaxis(pairs[1:] & pairs[:-1], 0, axis)]
        total += float(change.sum())
    return total


def color_error(edit: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """CIEDE2000 colour difference between edit and truth, the mean over all pixels or those of `mask`; 0 is equal.

    ISO/CIE 11664-6, as Sharma et al. 2005 (Color Research and Application 30(1)) put it, computed by scikit-image from
    sRGB under D65. 1 is just visible side by side; the demo world's subjects washed out halfway to grey are at 7 to 11.
    """
    chosen = (edit, truth) if mask is None else (edit[mask], truth[mask])
    if not chosen[0].size:
        return None
    return float(deltaE_ciede2000(*(rgb2lab(pixels) for pixels in chosen)).mean())


def identified(edit: np.ndarray, answers: Mapping[str, np.ndarray]) -> str:
    """The name of the answer with the least mean squared pixel error to the edit (nearest neighbour).

    Every answer is a clip of the same seed, so they differ by the edited attribute alone.
    """
    return min(answers, key=lambda name: float(((edit.astype(np.float32) - answers[name]) ** 2).mean()))


def temporal_error(edit: np.ndarray, truth: np.ndarray) -> float | None:
    """Root mean square, in levels, of what the frame-to-frame differences of the edit differ by from the truth's.

    Zero for an edit that moves and flickers exactly as the truth, whatever its constant error. It is the temporal
    gradient of the error, "dtSSD" of Erofeev et al. 2015 (video matting), on colours.
    """
    if len(edit) < 2:
        return None
    change = np.diff(edit.astype(np.float64), axis=0) - np.diff(truth.astype(np.float64), axis=0)
    return float(np.sqrt((change**2).mean()))


def warp_error(edit: np.ndarray, truth: np.ndarray) -> float | None:
    """Root mean square difference, in levels, of each frame to the next one warped back along the truth's motion.

    Warping error of Lai et al. 2018 (arXiv 1808.00449), with OpenCV's DIS flow on the true clip, since its motion is
    the right one; pixels that are hidden in one of the frames are left out. Needs no right colours: it sees flicker.
    """
    total, count = 0.0, 0
    for i in range(len(edit) - 1):
        flow, visible = _motion(truth[i], truth[i + 1])
        warped = _warped(edit[i + 1].astype(np.float32), flow)
        total += float(((warped - edit[i].astype(np.float32)) ** 2)[visible].sum())
        count += 3 * int(visible.sum())
    return float(np.sqrt(total / count)) if count else None


def _motion(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow (H, W, 2) in pixels from frame `here` to `there`, and where the way back agrees with it, bool (H, W).

    Agreement as in Sundaram et al. 2010 (ECCV, "Dense point trajectories"): a gap within a hundredth of the lengths.
    """
    a, b = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (here, there))
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth, back = method.calc(a, b, None), method.calc(b, a, None)
    returned = _warped(back, forth)
    gap = ((forth + returned) ** 2).sum(-1)
    length = (forth**2).sum(-1) + (returned**2).sum(-1)
    y, x = np.mgrid[0 : a.shape[0], 0 : a.shape[1]]
    to_x, to_y = x + forth[..., 0], y + forth[..., 1]
    within = (to_x >= 0) & (to_x <= a.shape[1] - 1) & (to_y >= 0) & (to_y <= a.shape[0] - 1)
    return forth, within & (gap < 0.01 * length + 0.5)


def _warped(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`picture` (H, W, channels) read at every pixel's place moved by `flow`."""
    y, x = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    return cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def measure(
    edit: np.ndarray, truth: np.ndarray, unchanged: np.ndarray | None, changed: np.ndarray | None
) -> dict[str, float | None]:
    """All metrics against ground truth. `unchanged` and `changed` are masks; None: there is no such part.

    Sharpness and colour error are of the changed part, or of whole frames where neither part is given.
    """
    values: dict[str, float | None] = {"psnr": psnr(edit, truth), "ssim": ssim(edit, truth)}
    for name, mask in {"unchanged": unchanged, "changed": changed}.items():
        values[f"{name}_psnr"] = None if mask is None else psnr(edit, truth, mask)
        values[f"{name}_ssim"] = None if mask is None else ssim(edit, truth, mask)
    absent = changed is None and unchanged is not None
    return {
        **values,
        "sharpness": None if absent else sharpness(edit, truth, changed),
        "color_error": None if absent else color_error(edit, truth, changed),
        "temporal_error": temporal_error(edit, truth),
        "warp_error": warp_error(edit, truth),
    }
