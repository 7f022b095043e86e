"""The blend: outside the region of the edit the latents are the source's own.

The region is found by the attention maps of the changed words (arXiv 2208.01626, section 3.2) or by the difference of
the two prompts' predictions (arXiv 2210.11427). Where another place changes most of the picture, the main thing alone
is kept for a while, where its own word's maps show it.
"""

from collections.abc import Sequence

import torch
from diffusers import UNet2DConditionModel

from editor.method.branches import Rows, keeps_thing, seeks_region
from editor.method.maps import FLAT, Differences, WordMaps, change_mask, map_level, thing_levels, thing_mask
from editor.method.words import ControlPlan
from editor.request import EditRequest, window_steps


class Blend:
    """Learns during a run where each edit acts, and keeps the rest of each target as the source is.

    `masks` has one boolean (F, h, w) per target, where the edit may act, None while nothing is localised. `kept` has
    the same of the main thing, where it alone is held. `notes` says where the blend is off and why.
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
        self.region = seeks_region(request)
        self.start = window_steps((0.0, request.blend_start), request.steps).stop
        self.kept_until = window_steps((0.0, request.kept_window), request.steps).stop
        self.masks: tuple[torch.Tensor | None, ...] = (None,) * len(plans)
        self.kept = self.masks
        self.differences = Differences() if self.region == "difference" else None
        self.maps = None
        level = map_level(unet, size)
        # words that are only added have no place in the source that their attention could be told from
        if self.region == "attention" and level is not None and any(plan.changed_source for plan in plans):
            self.maps = WordMaps(level, size)
        keeps = any(keeps_thing(request, plan) for plan in plans)
        self.things = tuple(WordMaps(level, size) for level in thing_levels(unet, size)) if keeps else ()

    @property
    def gathered(self) -> tuple[WordMaps, ...]:
        """The maps that the layers fill."""
        return self.things if self.maps is None else (self.maps, *self.things)

    @property
    def notes(self) -> tuple[tuple[str, ...], ...]:
        """For each target the sentences on how its region was found, and on a blend that was asked for and is off."""
        return tuple(self._note(plan, *found) for plan, *found in zip(self.plans, self.masks, self.kept, strict=True))

    def watched(self, rows: Rows) -> tuple[tuple[int, str], ...]:
        """The rows whose attention maps are gathered, with the names they are kept under."""
        source = ((0, "source"),) if rows.source and self.gathered else ()
        if self.maps is None:
            return source
        targets = ((rows.first_text + j, f"target {j}") for j, plan in enumerate(self.plans) if plan.changed_source)
        return (*source, *targets)

    def observe(self, difference: torch.Tensor) -> None:
        """Take in the difference of noise (M, F, C, h, w) between the targets' prompts and their guidance base."""
        if self.differences is not None:
            self.differences.add(difference)

    def update(self, step: int) -> None:
        """Form the masks anew from what is known so far. What is not localised when the blend begins stays off.

        What stays in a new place is found anew in every step, as long as it is kept.
        """
        if self.region is None or step < self.start:
            return
        masks = []
        for j, before in enumerate(self.masks):
            mask = None
            if step == self.start or before is not None:
                limit = self.request.setting_limit if self.plans[j].setting else FLAT
                mask = change_mask(self._found(j), self.request.blend_threshold, limit)
            masks.append(before if mask is None else mask)
        self.masks = tuple(masks)
        if step < self.kept_until:
            self.kept = tuple(self._thing(j) for j in range(len(self.plans)))
        else:
            self.things = ()  # nobody asks for these maps any more

    def mix(self, step: int, targets: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """The targets (M, F, C, h, w) with the source's latents (F, C, h, w) of the same level outside the masks."""
        if not self.request.blend or step < self.start:
            return targets
        mixed = []
        for target, mask, kept in zip(targets, self.masks, self.kept, strict=True):
            if mask is None and kept is not None and step < self.kept_until:
                mask = ~kept
            mixed.append(target if mask is None else torch.where(mask[:, None], target, source))
        return torch.stack(mixed)

    def _thing(self, index: int) -> torch.Tensor | None:
        """Where the thing is that target `index` keeps, boolean (F, h, w); None while its region is localised."""
        plan = self.plans[index]
        if self.masks[index] is not None or not keeps_thing(self.request, plan):
            return None
        maps = [maps.words("source", plan.kept, widen=False) for maps in self.things]
        # a thing that is kept is no larger than what counts as a region of its place
        return thing_mask(maps, self.request.kept_threshold, self.request.setting_limit)

    def _found(self, index: int) -> tuple[torch.Tensor | None, ...]:
        """The maps (F, h, w) that show where target `index` is edited."""
        plan = self.plans[index]
        if plan.same:
            return ()
        if self.differences is not None:
            return (self.differences.target(index),)
        if self.maps is None or not plan.changed_source:
            return ()
        return (
            self.maps.words("source", plan.changed_source),
            self.maps.words(f"target {index}", plan.changed_target),
        )

    def _note(self, plan: ControlPlan, mask: torch.Tensor | None, kept: torch.Tensor | None) -> tuple[str, ...]:
        if not self.request.blend:
            return ()
        found = ()
        if self.region != self.request.blend_region:
            found = ("blend region by attention: a difference needs guidance away from the source prompt",)
        if mask is not None:
            return found
        if plan.same:
            return ("blend off: the two prompts say the same",)
        if kept is not None:
            part = f"{self.request.kept_window:.0%}"
            return (*found, f"the place is another one: the main thing is kept on the first {part} of the steps")
        if self.region == "difference":
            return ("blend off: the edit acts on most of the picture",)
        if not plan.changed_source:
            return (*found, "blend off: words are only added, and nothing in the source shows their place")
        if self.maps is None:
            return (*found, "blend off: this model has no text attention to find the changed words with")
        return (*found, "blend off: the attention of the changed words covers most of the picture")
