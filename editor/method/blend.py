"""The blend: outside the region of the changed words the latents are the source's own (after arXiv 2208.01626, 3.2)."""

from collections.abc import Sequence

import torch
from diffusers import UNet2DConditionModel

from editor.method.branches import Rows, gathers_maps
from editor.method.maps import WordMaps, change_mask, map_level
from editor.method.words import ControlPlan
from editor.request import EditRequest, window_steps


class Blend:
    """Learns during a run where the changed words are, and keeps the rest of each target as the source is.

    `masks` has one boolean (F, h, w) per target, None while nothing is localised. `notes` says where it is off and why.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        plans: Sequence[ControlPlan],
        request: EditRequest,
        size: tuple[int, int],
    ) -> None:
        self.plans = plans
        self.request = request
        self.start = window_steps((0.0, request.blend_start), request.steps).stop
        self.masks: tuple[torch.Tensor | None, ...] = (None,) * len(plans)
        level = map_level(unet, size)
        # words that are only added have no place in the source that could be told from the rest
        self.candidates = tuple(
            gathers_maps(request) and level is not None and bool(plan.changed_source) for plan in plans
        )
        self.maps = WordMaps(level, size) if any(self.candidates) else None

    @property
    def notes(self) -> tuple[tuple[str, ...], ...]:
        """For each target the sentences on a blend that was asked for and is off."""
        return tuple(self._note(*target) for target in zip(self.plans, self.candidates, self.masks, strict=True))

    def watched(self, rows: Rows) -> tuple[tuple[int, str], ...]:
        """The rows whose attention maps are gathered, with the names they are kept under."""
        if self.maps is None:
            return ()
        source = ((0, "source"),) if rows.source else ()
        targets = ((rows.first_text + j, f"target {j}") for j, wanted in enumerate(self.candidates) if wanted)
        return (*source, *targets)

    def update(self, step: int) -> None:
        """Form the masks anew from the maps so far. What is not localised when the blend begins stays off."""
        if self.maps is None or step < self.start:
            return
        masks = []
        for j, (plan, wanted, before) in enumerate(zip(self.plans, self.candidates, self.masks, strict=True)):
            mask = None
            if wanted and (step == self.start or before is not None):
                source = self.maps.words("source", plan.changed_source)
                target = self.maps.words(f"target {j}", plan.changed_target)
                mask = change_mask(source, target, self.request.blend_threshold)
            masks.append(before if mask is None else mask)
        self.masks = tuple(masks)

    def mix(self, step: int, targets: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """The targets (M, F, C, h, w) with the source's latents (F, C, h, w) of the same level outside the masks."""
        if not self.request.blend or step < self.start:
            return targets
        mixed = (
            target if mask is None else torch.where(mask[:, None], target, source)
            for target, mask in zip(targets, self.masks, strict=True)
        )
        return torch.stack(list(mixed))

    def _note(self, plan: ControlPlan, candidate: bool, mask: torch.Tensor | None) -> tuple[str, ...]:
        if not self.request.blend or mask is not None:
            return ()
        if plan.kind == "same":
            return ("blend off: the two prompts say the same",)
        if plan.kind == "addition":
            return ("blend off: words are only added, and nothing in the source shows their place",)
        if not candidate:
            return ("blend off: this model has no text attention to find the changed words with",)
        return ("blend off: the attention of the changed words covers most of the picture",)
