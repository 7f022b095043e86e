"""The presets as data: what each asks for, by the family of the model, and what a strength makes of it.

A preset says how careful an edit is, a family what its model needs. `paper` is the same for all families.
"""

from typing import Any

FAMILIES: dict[str, str] = {
    "drawn": "found with the built-in model by `python -m editor evaluate --search`",
    "photo": "from the literature on editing with Stable Diffusion, not tuned on this model",
}
"""Family -> where its numbers come from. `drawn`: the built-in model; `photo`: Stable Diffusion and everything else."""

STRENGTHS = ("gentle", "normal", "strong")

COMMON: dict[str, dict[str, Any]] = {
    # arXiv 2303.17599 as its authors run it; frozen by a test.
    "paper": {
        "steps": 50,
        "swap_steps": 0,
        "guidance_scale": 7.5,
        "guidance_stop": 1.0,
        "guidance_quantile": 0.0,
        "inversion": "null_text",
        "inversion_prompt": "empty",
        "null_text_inner_steps": 1,
        "null_text_window": (0.5, 1.0),
        "residual": 0.0,
        "guidance_base": "empty",
        "self_attention": "own",
        "as_published": True,
        "frame_attention": "sparse",
        "dense_layers": "paper",
        "replace_window": 0.8,
        "refine_window": 0.4,
        "subject_window": 1.0,
        "subject_guidance": 1.0,
        "setting_guidance": 1.0,
        "blend": False,
        "keep_detail": False,
        "spatial_pixel_weight": 0.0,
        "spatial_gradient_weight": 0.0,
        "agreement": 0,
    },
    "balanced": {},
    "fast": {"key_fps": 4.0},
}
"""Preset -> what it asks of every model, where that differs from the defaults of `EditRequest`."""

DRAWN = {
    "guidance_scale": 1.5,
    "guidance_stop": 0.4,
    "guidance_quantile": 0.0,
    "setting_guidance": 1.55,
    "subject_guidance": 2.2,
    "dense_layers": "none",  # layers that see all frames changed nothing and take a third of an edit's time
    "self_attention_window": (0.0, 1.0),
    "self_attention_cells": 0,
    "replace_window": 0.0,  # the search liked 0.8, but then a red car turns grey instead of blue: LOG.md, 2026-11-28
    "refine_window": 0.2,
    "subject_window": 0.0,
    "shape_window": 1.0,
    "residual_window": (0.0, 1.0),
    "shape_residual": 1.0,
    "kept_window": 0.6,
    "blend_threshold": 0.3,
    "kept_threshold": 0.45,
    "setting_limit": 0.25,
}
"""Found on the search half of the evaluation's tasks, see LOG.md."""

PHOTO = {
    "guidance_scale": 7.5,  # Prompt-to-Prompt, PnP-Inversion, FateZero, TokenFlow; Negative-Prompt Inversion 7.5 to 9
    "guidance_stop": 1.0,
    "guidance_quantile": 0.7,  # ProxNPI (arXiv 2306.05414) against garish colours
    "setting_guidance": 1.0,
    "subject_guidance": 1.0,
    "self_attention_window": (0.0, 0.5),  # FateZero 0.5 for shapes, 0.8 for styles; PnP-Inversion 0.6
    "self_attention_cells": 32,  # PnP-Inversion
    "replace_window": 0.8,  # Prompt-to-Prompt's code
    "refine_window": 0.4,  # Prompt-to-Prompt's code
    "subject_window": 0.5,
    "shape_window": 0.5,
    "residual_window": (0.0, 0.5),  # the decay is ours
    "shape_residual": 0.0,  # PnP-Inversion leaves the target alone
    "kept_window": 0.6,
    "blend_threshold": 0.5,  # DiffEdit
    "kept_threshold": 0.3,
    "setting_limit": 0.65,
}
"""Start values for Stable Diffusion, from the papers named, until somebody measures better ones."""

BY_FAMILY: dict[str, dict[str, dict[str, Any]]] = {
    # UNet evaluations per frame of a swap: N inversion, 2N source and target, and one more on each guided step. A new
    # place or look takes the larger number of steps. A further target: N and the guided steps.
    "drawn": {
        "balanced": {"steps": 12, "swap_steps": 9, **DRAWN},  # 9 + 18 + 4 = 31; 12 + 24 + 5 = 41 for a new place
        "fast": {"steps": 10, "swap_steps": 7, **DRAWN},  # 7 + 14 + 3 = 24; 10 + 20 + 4 = 34 for a new place
    },
    "photo": {
        "balanced": {"steps": 30, "swap_steps": 0, **PHOTO},
        "fast": {"steps": 16, "swap_steps": 0, **PHOTO},
    },
}
"""Family -> preset -> the numbers that depend on the family."""

SCALES: dict[str, dict[str, tuple[float, float]]] = {
    "drawn": {"gentle": (0.85, 1.25), "normal": (1.0, 1.0), "strong": (4 / 3, 0.6)},
    "photo": {"gentle": (2 / 3, 1.4), "normal": (1.0, 1.0), "strong": (4 / 3, 0.6)},
}
"""Family -> strength -> factors of the guidance scale, and of every window in which the source is held."""

HELD = (
    "replace_window",
    "refine_window",
    "subject_window",
    "shape_window",
    "kept_window",
    "self_attention_window",
    "residual_window",
)
"""The windows that a strength stretches or shortens; they begin at the noisiest step and never pass the last."""


def depends_on_family(preset: str) -> bool:
    """Whether the preset's numbers depend on the family and the strength; those of `paper` do not."""
    return all(preset in presets for presets in BY_FAMILY.values())


def preset_values(preset: str, family: str, strength: str = "normal") -> dict[str, Any]:
    """The fields in which `preset` at this `family` and `strength` differs from the defaults of `EditRequest`.

    The strength has no part in a preset that is the same for all families. Raises `KeyError` for unknown names.
    """
    if not depends_on_family(preset):
        return dict(COMMON[preset])
    guidance, windows = SCALES[family][strength]
    values = {**COMMON[preset], **BY_FAMILY[family][preset]}
    values["guidance_scale"] = round(max(1.0, values["guidance_scale"] * guidance), 2)
    for name in HELD:
        values[name] = _stretched(values[name], windows)
    return values


def origin(preset: str, family: str, strength: str) -> str:
    """Where a preset's numbers come from, as a phrase for a person."""
    if not depends_on_family(preset):
        return f"preset {preset}, the same for every model: arXiv 2303.17599 as its authors run it"
    return f"preset {preset}, strength {strength}, family {family}: {FAMILIES[family]}"


def _stretched(window: Any, factor: float) -> Any:  # noqa: ANN401 - a part of the steps, or its start and its end
    """A part of the steps with its end at `factor` times where it was, at most at the last step."""
    if isinstance(window, tuple):
        return window[0], _stretched(window[1], factor)
    return round(min(1.0, window * factor), 3)
