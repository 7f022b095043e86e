"""What can be asked of an edit: every default and every range stands here, once; the presets in `editor.presets`.

The command line, the web form and the manifest derive names, types, ranges and help texts from `EditRequest`.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from editor.diffusion.catalog import family_of
from editor.events import EditError
from editor.media.clip import KEY_FPS, MOST
from editor.media.region import region_mask
from editor.options import check, option, quoted
from editor.presets import COMMON as PRESETS
from editor.presets import FAMILIES, STRENGTHS, depends_on_family, origin, preset_values

__all__ = ["PRESETS", "EditRequest", "Window", "window_steps"]

Window = tuple[float, float]
"""A part of the denoising steps as fractions (start, end), 0 = the noisiest step, 1 = after the last step."""


def window_steps(window: Window, steps: int) -> range:
    """The steps i with start <= i/steps < end. (0.5, 1) of 50 steps: 25..49; of 7 steps: 4..6."""
    start, end = (math.ceil(round(fraction * steps, 6)) for fraction in window)
    return range(start, end)


@dataclass(frozen=True)
class EditRequest:
    """One clip, what it shows, what it should show instead, and how. Times are seconds of the source clip."""

    source: str = option("", "What the clip shows.", advanced=False)
    targets: tuple[str, ...] = option((), "What it should show instead; several share one inversion.", advanced=False)
    preset: str = option("balanced", "Which preset the method's numbers come from.", advanced=False)
    strength: str = option(
        "normal",
        "How far the edit may go: scales guidance, and the windows that hold the source, together.",
        choices=STRENGTHS,
        advanced=False,
    )
    model: str = option(
        "demo",
        "A name from the catalog, a checkpoint folder or .safetensors file, or an id of the Hugging Face Hub.",
        advanced=False,
    )
    vae: str = option("", "Another VAE: a folder, a .safetensors file or an id of the Hub.", advanced=False)
    loras: Mapping[str, float] = option(
        dict,
        "LoRAs and their strengths, by file or by name in the folder EDITOR_LORAS.",
        low=-4,
        high=4,
        advanced=False,
    )
    family: str = option(
        "auto",
        "Whose numbers a preset takes; auto: drawn for the built-in model, photo for every other.",
        choices=("auto", *FAMILIES),
        advanced=False,
    )

    start: float = option(0.0, "Where the edited interval begins, in seconds.", low=0.0, advanced=False)
    end: float | None = option(None, "Where it ends, in seconds; empty: the end of the clip.", low=0.0, advanced=False)
    region: str = option(
        "", "A picture, white where the edit may act; it is carried along the clip's motion.", advanced=False
    )
    region_at: float = option(0.0, "The second of the clip that it was painted on.", low=0.0, advanced=False)
    key_fps: float = option(
        KEY_FPS, "Keyframes per second: only they are edited, the rest follows the clip's motion.", low=0.1, high=30.0
    )
    max_frames: int = option(MOST, "Maximum number of keyframes to edit.", low=1, high=MOST)
    agreement: int = option(
        1,
        "How many keyframes before and after a keyframe its edit is averaged with, along the clip's motion. Above 0 "
        "the edit of every frame is also fitted to that frame's own colours.",
        low=0,
        high=4,
    )
    window: int | None = option(
        None,
        "Keyframes that pass the network at once; empty: up to 32, as many as there is memory for.",
        low=1,
        high=MOST,
    )
    size: int | None = option(
        None,
        "Longer side the model works at, in pixels; empty: as large a picture as it was trained on.",
        low=64,
        high=2048,
    )

    negative_prompt: str = option("", "What the result should avoid.")
    negative_scale: float = option(1.0, "Strength of that push, relative to the guidance scale.", low=0.0, high=3.0)
    clip_skip: int = option(0, "How many of the text encoder's last layers are left out.", low=0, high=8)
    steps: int = option(25, "Denoising steps.", low=1, high=200)
    swap_steps: int = option(
        0, "Denoising steps where no place, time or look changes; 0: as many as steps.", low=0, high=200
    )
    guidance_scale: float = option(7.5, "How strongly the prompt steers; 1 is no guidance.", low=1.0, high=20.0)
    guidance_stop: float = option(1.0, "Fraction of the steps after which guidance ends.", low=0.0, high=1.0)
    guidance_quantile: float = option(
        0.0,
        "Share of the clip's smallest guidance values that is dropped (ProxNPI), against garish colours.",
        low=0.0,
        high=0.95,
    )

    inversion: str = option(
        "pinned",
        "How the source is kept: denoised from its inversion (ddim), denoised with a fitted empty prompt (null_text), "
        "pinned to its inversion, or pinned to the clip with noise added, which needs none (virtual).",
        choices=("ddim", "null_text", "pinned", "virtual"),
    )
    inversion_prompt: str = option("source", "Prompt that the inversion runs with.", choices=("empty", "source"))
    null_text_inner_steps: int = option(1, "Optimiser steps per timestep of the null-text fit.", low=1, high=10)
    null_text_window: Window = option((0.5, 1.0), "Steps on which the fitted embeddings are used.", low=0.0, high=1.0)
    residual: float = option(
        1.0, "Share of the source row's error given to the target (pinned, virtual).", low=0.0, high=1.0
    )
    residual_window: Window = option((0.0, 1.0), "Steps on which that share is given.", low=0.0, high=1.0)
    shape_residual: float = option(
        1.0, "How much of that share is left where a thing is replaced by another shape.", low=0.0, high=1.0
    )
    guidance_base: str = option("source", "What guidance pushes away from.", choices=("empty", "source"))
    self_attention: str = option(
        "source_maps",
        "What the target's self-attention takes from the source: nothing, keys and values, or its maps.",
        choices=("own", "source_kv", "source_maps"),
    )
    self_attention_window: Window = option((0.0, 1.0), "Steps on which this applies.", low=0.0, high=1.0)
    self_attention_cells: int = option(
        0, "Only in layers of at most this many cells per side; 0: in all layers.", low=0, high=256
    )

    as_published: bool = option(
        False,
        "Run as the authors do: every row to the last step, null text fitted on all of them, group norms over the "
        "whole clip, latents drawn from the VAE's posterior.",
    )

    frame_attention: str = option(
        "sparse", "Frames that a frame attends to.", choices=("own", "first", "sparse", "dense")
    )
    dense_layers: str = option(
        "paper", "Self-attention layers that see all frames, whatever the rest does.", choices=("none", "paper", "all")
    )

    replace_window: float = option(
        0.8, "Fraction of the steps that use the source's text maps when words are swapped.", low=0.0, high=1.0
    )
    refine_window: float = option(
        0.4, "Fraction of the steps that use the source's text maps when words are added.", low=0.0, high=1.0
    )
    subject_window: float = option(
        0.3, "Upper limit of that fraction where the main thing is replaced by another shape.", low=0.0, high=1.0
    )
    shape_window: float = option(
        1.0, "Upper limit of that fraction where the words bring in any other shape.", low=0.0, high=1.0
    )
    subject_guidance: float = option(
        1.0, "Factor on the guidance scale where the main thing is replaced.", low=0.1, high=10.0
    )
    setting_guidance: float = option(
        0.8,
        "Factor on the guidance scale where another place is all that changes, but for the time and the look.",
        low=0.1,
        high=10.0,
    )
    word_weights: Mapping[str, float] = option(
        dict, "Strength of individual target words, e.g. snow=1.5.", low=-5.0, high=10.0
    )

    blend: bool = option(True, "Keep the source outside the changed words' region.")
    blend_region: str = option(
        "difference",
        "How that region is found: by the words' attention, or by where the two prompts' predictions differ.",
        choices=("attention", "difference"),
    )
    blend_threshold: float = option(0.3, "Map value from which a position counts as changed.", low=0.0, high=1.0)
    blend_start: float = option(0.2, "Fraction of the steps after which the blend begins.", low=0.0, high=1.0)
    kept_window: float = option(
        0.6,
        "Fraction of the steps on which the main thing is kept unchanged in a new place.",
        low=0.0,
        high=1.0,
    )
    kept_threshold: float = option(
        0.45, "Value of its word's map from which a position belongs to the main thing.", low=0.05, high=0.95
    )
    setting_limit: float = option(
        0.33,
        "A new place, time or look that covers more than this part of the picture may change all of it.",
        low=0.0,
        high=1.0,
    )
    keep_detail: bool = option(
        True, "Give back the clip's own detail where its shapes are still there; drop faint differences and halos."
    )
    spatial_pixel_weight: float = option(0.0, "Weight of the pixel difference to the source.", low=0.0, high=100.0)
    spatial_gradient_weight: float = option(0.0, "Weight of the difference in image gradients.", low=0.0, high=100.0)
    spatial_window: Window = option((0.6, 1.0), "Steps on which the spatial loss acts.", low=0.0, high=1.0)
    spatial_every: int = option(3, "The spatial loss acts on every k-th step of its window.", low=1, high=50)
    word_maps: bool = option(
        False, "Keep where the model looked for each word: point at a word of the result, and the player shows it."
    )

    def validated(self) -> Self:
        """Return self, or raise `EditError` naming the first value that cannot be used and what is allowed."""
        for f in fields(self):
            check(f, getattr(self, f.name))
        if not self.source.strip():
            raise EditError("Say what the clip shows (source prompt), for example: a red car on the road.")
        if not self.targets or not all(t.strip() for t in self.targets):
            raise EditError(
                "Say what the clip should show instead (target prompt), for example: a blue car on the road."
            )
        if self.preset not in PRESETS:
            raise EditError(f"There is no preset '{quoted(self.preset)}'. Allowed: {', '.join(PRESETS)}.")
        if self.strength != "normal" and not depends_on_family(self.preset):
            raise EditError(
                f"strength is '{self.strength}', but the preset {self.preset} is kept as published. Leave the strength "
                "at normal, or use the preset balanced or fast."
            )
        if self.inversion == "null_text" and self.guidance_base != "empty":
            raise EditError(
                f"inversion null_text fits the empty prompt, but guidance_base is '{self.guidance_base}', so the fit "
                "would not be used. Set guidance_base to empty, or inversion to pinned."
            )
        if self.inversion == "null_text" and (self.subject_guidance, self.setting_guidance) != (1, 1):
            raise EditError(
                "inversion null_text fits the empty prompt at guidance_scale, so every target must run with exactly "
                f"that, but subject_guidance is {self.subject_guidance:g} and setting_guidance is "
                f"{self.setting_guidance:g}. Set both to 1, or inversion to pinned."
            )
        if self.region:
            region_mask(self.region)
        if self.end is not None and self.end <= self.start:
            raise EditError(f"The interval from {self.start:g} s to {self.end:g} s is empty: the end must come later.")
        return self

    @property
    def source_pinned(self) -> bool:
        """Whether the source is set to its own latents in every step instead of being denoised."""
        return self.inversion in ("pinned", "virtual")

    def numbers(self) -> dict[str, Any]:
        """The numbers in force that a preset chooses by family, as JSON values, in the order of the fields."""
        chosen = preset_values("balanced", "photo")
        return {name: value for name, value in self.to_dict().items() if name in chosen}

    def origin(self) -> str:
        """Where the preset's numbers come from, and which of them were set by hand."""
        family = family_of(self.model) if self.family == "auto" else self.family
        preset = type(self).from_preset(self.preset, family=family, strength=self.strength).numbers()
        changed = [name for name, value in self.numbers().items() if value != preset[name]]
        by_hand = f"; set by hand: {', '.join(changed)}" if changed else ""
        return origin(self.preset, family, self.strength) + by_hand

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from `to_dict`'s form. Unknown names raise `EditError`."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise EditError(f"Unknown option {quoted(', '.join(unknown))}. Known: {', '.join(sorted(known))}.")
        # JSON has lists for tuples; anything else keeps its type and is refused by `validated`
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @classmethod
    def from_preset(cls, preset: str = "balanced", **values: Any) -> Self:  # noqa: ANN401
        """The preset's numbers for the model's family, overridden by `values`; values that are None keep the preset's.

        `model`, `family` and `strength` among the values choose the numbers. Raises `EditError` for unknown names.
        """
        given = {k: v for k, v in values.items() if v is not None}
        if "steps" in given:  # a number that was asked for holds for every kind of edit
            given.setdefault("swap_steps", 0)
        if given.get("family", "auto") == "auto":
            given["family"] = family_of(given.get("model", cls.model))
        family, strength = given["family"], given.get("strength", "normal")
        for name, value, allowed in (
            ("preset", preset, PRESETS),
            ("family", family, FAMILIES),
            ("strength", strength, STRENGTHS),
        ):
            if value not in tuple(allowed):
                raise EditError(f"There is no {name} '{quoted(value)}'. Allowed: {', '.join(allowed)}.")
        return cls.from_dict({**preset_values(preset, family, strength), "preset": preset, **given})
