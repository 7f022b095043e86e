"""The blend: outside the region of the edit the latents are the source's own.

The region is found by the attention maps of the changed words (arXiv 2208.01626, section 3.2) or by the difference of
the two prompts' predictions (arXiv 2210.11427), with the maps as a fall-back. Where another place changes most of the
picture, the main thing alone is kept for a while, where its own word's maps show it.
"""

from collections.abc import Sequence

import torch
from diffusers import UNet2DConditionModel

from editor.method.branches import Rows, keeps_main, seeks_region
from editor.method.maps import FLAT, Differences, WordMaps, change_mask, kept_levels, kept_mask, map_level
from editor.method.plan import ControlPlan
from editor.request import EditRequest, window_steps


class Blend:
    """Learns during a run where each edit acts, and keeps the rest of each target as the source is.

    `masks` has one boolean (F, h, w) per target, where the edit may act, None while nothing is localised. `kept` has
    the same of the main thing, where it alone is held. `notes` says where the blend is off and why. `painted`, boolean
    (F, h, w): where a person allowed the edits; outside it every target is the source on all steps.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        plans: Sequence[ControlPlan],
        request: EditRequest,
        size: tuple[int, int],
        painted: torch.Tensor | None = None,
    ) -> None:
        self.painted = painted
        self.plans = plans
        self.request = request
        self.region = seeks_region(request)
        self.start = window_steps((0.0, request.blend_start), request.steps).stop
        self.kept_until = window_steps((0.0, request.kept_window), request.steps).stop
        self.found: tuple[torch.Tensor | None, ...] = (None,) * len(plans)
        self.kept = self.found
        self.worded = [False] * len(plans)
        self.differences = Differences() if self.region == "difference" else None
        self.maps = None
        level = map_level(unet, size)
        # words that are only added have no place in the source that their attention could be told from
        if self.region is not None and level is not None and any(map(self._by_words, plans)):
            targets = {f"target {j}": plan.changed_target for j, plan in enumerate(plans)}
            self.maps = WordMaps(level, size, {"source": [t for p in plans for t in p.changed_source], **targets})
        self.looks = level is not None
        keeps = any(keeps_main(request, plan) for plan in plans)
        things = {"source": [t for plan in plans for t in plan.kept]}
        self.kept_maps = tuple(WordMaps(n, size, things) for n in kept_levels(unet, size)) if keeps else ()

    @property
    def masks(self) -> tuple[torch.Tensor | None, ...]:
        """For each target where it may act, boolean (F, h, w): where it was found to, within what was painted."""
        return tuple(map(self._allowed, self.found))

    def _allowed(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """A mask within what was painted; all of that where they have nothing in common."""
        if self.painted is None or mask is None:
            return self.painted if mask is None else mask
        both = mask & self.painted
        return torch.where(both.any(), both, self.painted)

    @property
    def gathered(self) -> tuple[WordMaps, ...]:
        """The maps that the layers fill."""
        return self.kept_maps if self.maps is None else (self.maps, *self.kept_maps)

    @property
    def notes(self) -> tuple[tuple[str, ...], ...]:
        """For each target the sentences on how its region was found, and on a blend that was asked for and is off."""
        return tuple(map(self._note, self.plans, self.found, self.kept, self.worded))

    def watched(self, rows: Rows) -> tuple[tuple[int, str], ...]:
        """The rows whose attention maps are gathered, with the names they are kept under."""
        source = ((0, "source"),) if rows.source and self.gathered else ()
        if self.maps is None:
            return source
        targets = ((rows.first_text + j, f"target {j}") for j, plan in enumerate(self.plans) if self._by_words(plan))
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
        if step == self.start:
            self.found = tuple(self._found(j) for j in range(len(self.plans)))
            if self.region == "difference":
                self.maps = None  # what fell back on them keeps what they showed
        else:
            self.found = tuple(self._moved(j) for j in range(len(self.plans)))
        if step < self.kept_until:
            self.kept = tuple(self._kept_mask(j) for j in range(len(self.plans)))
        else:
            self.kept_maps = ()  # nobody asks for these maps any more

    def mix(self, step: int, targets: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """The targets (M, F, C, h, w) with the source's latents (F, C, h, w) of the same level outside the masks."""
        blends = self.request.blend and step >= self.start
        if not blends and self.painted is None:
            return targets
        mixed = []
        for target, found, kept in zip(targets, self.found, self.kept, strict=True):
            mask = found if blends else None
            if blends and mask is None and kept is not None and step < self.kept_until:
                mask = ~kept
            mask = self._allowed(mask)
            mixed.append(target if mask is None else torch.where(mask[:, None], target, source))
        return torch.stack(mixed)

    def _kept_mask(self, index: int) -> torch.Tensor | None:
        """Where the main thing is that target `index` keeps, boolean (F, h, w); None while its region is localised."""
        plan = self.plans[index]
        if self.found[index] is not None or not keeps_main(self.request, plan):
            return None
        maps = [maps.words("source", plan.kept, widen=False) for maps in self.kept_maps]
        # what is kept is no larger than what counts as a region of its place
        return kept_mask(maps, self.request.kept_threshold, self.request.setting_limit)

    def _by_words(self, plan: ControlPlan) -> bool:
        """Whether the attention of the changed words can show where `plan` acts.

        Beside the difference it is the fall-back, but for another place, time or look, which words do not localise.
        """
        return bool(plan.changed_source) and (self.region == "attention" or not plan.may_spread)

    def _limit(self, index: int) -> float:
        """The part of the picture up to which target `index` acts in a region."""
        return self.request.setting_limit if self.plans[index].may_spread else FLAT

    def _found(self, index: int) -> torch.Tensor | None:
        """Where target `index` acts, boolean (F, h, w): by the difference, else by the words; None: nowhere special."""
        plan, threshold = self.plans[index], self.request.blend_threshold
        if plan.same:
            return None
        if self.differences is not None:
            found = self.differences.region(index, threshold, self._limit(index))
            if found is not None and bool(found[1]):
                return found[0]
        found = self._where_words_look(index)
        self.worded[index] = found is not None and bool(found[1])
        return found[0] if self.worded[index] else None

    def _moved(self, index: int) -> torch.Tensor | None:
        """The same a step later; what was not localised when the blend began stays off. Waits for no device."""
        before = self.found[index]
        if before is None:
            return None
        if self.differences is None:
            now = self._where_words_look(index)
        elif self.worded[index]:
            return before
        else:
            now = self.differences.region(index, self.request.blend_threshold, self._limit(index))
        return before if now is None else torch.where(now[1], now[0], before)

    def _where_words_look(self, index: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        plan = self.plans[index]
        if self.maps is None or not self._by_words(plan):
            return None
        names = (("source", plan.changed_source), (f"target {index}", plan.changed_target))
        maps = [self.maps.words(name, tokens) for name, tokens in names]
        return change_mask(maps, self.request.blend_threshold, self._limit(index))

    def _note(
        self, plan: ControlPlan, mask: torch.Tensor | None, kept: torch.Tensor | None, worded: bool
    ) -> tuple[str, ...]:
        if not self.request.blend:
            return ()
        found = ()
        if self.region != self.request.blend_region:
            found = ("blend region by attention: a difference needs guidance away from the source prompt",)
        fell_back = worded and self.region == "difference"
        by_words = ("blend region by the words' attention: the difference shows none",) if fell_back else ()
        if mask is not None:
            return (*found, *by_words)
        if plan.same:
            return ("blend off: the two prompts say the same thing",)
        if kept is not None and bool(kept.any()):
            part = f"{self.request.kept_window:.0%}"
            return (*found, f"only the place changes: the main thing is kept on the first {part} of the steps")
        if self.region == "difference":
            return ("blend off: the edit acts on most of the picture",)
        if not plan.changed_source:
            return (*found, "blend off: words are only added, and nothing in the source shows where they belong")
        if not self.looks:
            return (*found, "blend off: this model has no text attention to find the changed words with")
        return (*found, "blend off: the attention of the changed words covers most of the picture")
