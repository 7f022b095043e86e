"""The edit itself: source and target rows denoised side by side, from the clip's own noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.method.attention import EditStep, Takeover, attached, coarse_level, processors_for
from editor.method.blend import Blend
from editor.method.branches import Rows, guidance_at, has_spatial_loss, pushes, row_schedule, spatial_steps
from editor.method.denoiser import Denoiser, OnFrames, OnStep, clip_norms, proximal, uncounted, unheard
from editor.method.inversion import Trajectory
from editor.method.maps import LookedFor, looked_for, maps_of_words
from editor.method.null_text import NullText
from editor.method.plan import ControlPlan, on_device
from editor.method.schedule import Schedule
from editor.method.spatial import SpatialLoss
from editor.method.windows import Window, passages
from editor.request import EditRequest, window_steps


@dataclass(frozen=True)
class Conditioning:
    """Text embeddings, float32: `source` (1, T, d), `targets` (M, T, d), `empty` (1, T, d), and `negative` (1, T, d).

    `negative`: where the user gave one, see `branches.pushes`.
    """

    source: torch.Tensor
    targets: torch.Tensor
    empty: torch.Tensor
    negative: torch.Tensor | None = None


@dataclass(frozen=True)
class Sampled:
    """The outcome for M targets: `latents` (M, F, C, h, w), clean.

    `source` (F, C, h, w): the source row's own outcome, None where it was not run to the end. `masks`: where each edit
    could happen, boolean (F, h, w), None where nothing was localised. `notes`: sentences for each target's manifest.
    `unet_evaluations`, `vae_evaluations`: the work of all targets together, per frame. `word_maps`, if
    asked for: where each target's words and the source's were looked for.
    """

    latents: torch.Tensor
    source: torch.Tensor | None
    masks: tuple[torch.Tensor | None, ...]
    notes: tuple[tuple[str, ...], ...]
    unet_evaluations: float
    vae_evaluations: float
    word_maps: tuple[LookedFor, ...] = ()


@torch.no_grad()
def sample_edit(
    unet: UNet2DConditionModel,
    schedule: Schedule,
    trajectory: Trajectory,
    plans: Sequence[ControlPlan],
    conditioning: Conditioning,
    request: EditRequest,
    *,
    kernel: KernelChoice = SDPA,
    null_text: NullText | None = None,
    spatial: SpatialLoss | None = None,
    windows: Sequence[Window] = (),
    region: torch.Tensor | None = None,
    on_step: OnStep = unheard,
    on_frames: OnFrames = uncounted,
) -> Sampled:
    """Denoise one row per plan under the request's control; `on_step` gets the targets' guesses of the clean latents.

    `region`: where a person allowed the edit, bool (F, h, w); outside it every target is the source, on all steps.
    `null_text` is needed with inversion null_text, `spatial` with a spatial weight. Frames pass the UNet in `windows`,
    by default all at once; `clip_norms` hold where they do. With `plans` = (source, source), blend and loss off, the
    result measures what the method loses. Raises `EditError` when the numbers overflow.
    """
    if not schedule.steps == trajectory.steps == request.steps:
        raise ValueError(f"steps differ: {schedule.steps=}, {trajectory.steps=}, {request.steps=}")
    if request.inversion == "null_text" and null_text is None:
        raise ValueError("inversion null_text needs null_text: call fit_null_text first")
    if has_spatial_loss(request) and spatial is None:
        raise ValueError("a spatial weight needs spatial: the VAE and the original frames")
    denoiser = Denoiser(unet, schedule)
    run = _Run(
        denoiser, trajectory, tuple(plans), conditioning, request, null_text, spatial, windows, region, on_frames
    )
    frames, published = len(run.source), request.as_published and len(windows) <= 1
    processors = processors_for(unet, kernel, request.frame_attention, request.dense_layers)
    with attached(unet, processors), clip_norms(unet, frames, published):
        for step in range(schedule.steps):
            guess = run.advance(step)
            on_step(step + 1, schedule.steps, guess)
    return Sampled(
        latents=run.targets,
        source=run.source if run.rows[-1].source else None,
        masks=run.blend.masks,
        notes=run.blend.notes,
        unet_evaluations=denoiser.evaluations(frames),
        vae_evaluations=run.vae_evaluations,
        word_maps=looked_for(run.looking, run.plans),
    )


class _Run:
    """One pass from noise to the edited clips."""

    def __init__(
        self,
        denoiser: Denoiser,
        trajectory: Trajectory,
        plans: tuple[ControlPlan, ...],
        conditioning: Conditioning,
        request: EditRequest,
        null_text: NullText | None,
        spatial: SpatialLoss | None,
        windows: Sequence[Window],
        region: torch.Tensor | None,
        on_frames: OnFrames,
    ) -> None:
        self.denoiser = denoiser
        self.trajectory = trajectory
        self.conditioning = conditioning
        self.request = request
        self.null_text = null_text
        self.spatial = spatial
        self.windows = windows
        self.on_frames = on_frames
        self.rows = row_schedule(request, plans)
        self.source = trajectory.noisiest
        self.targets = self.source.expand(len(plans), *self.source.shape)
        self.plans = tuple(on_device(plan, self.source.device) for plan in plans)
        like = {"dtype": self.source.dtype, "device": self.source.device}
        self.guidance = torch.tensor([plan.guidance for plan in plans], **like).view(-1, 1, 1, 1, 1)
        self.pushed = pushes(request)
        # a target that says what the source says stays the clip, whatever is to be avoided
        push = [request.negative_scale * plan.guidance * (not plan.same) for plan in plans]
        self.push = torch.tensor(push, **like).view(-1, 1, 1, 1, 1)
        shares = [request.residual * plan.residual for plan in plans]
        self.residual = torch.tensor(shares, **like).view(-1, 1, 1, 1, 1)
        self.reads_level = coarse_level(denoiser.unet, request.self_attention_cells)
        self.blend = Blend(denoiser.unet, plans, request, self.source.shape[-2:], region)
        self.looking = maps_of_words(denoiser.unet, plans, self.source.shape[-2:]) if request.word_maps else None
        self.vae_evaluations = 0.0

    def advance(self, step: int) -> torch.Tensor:
        """Take one step, with classifier-free guidance (arXiv 2207.12598); return the guesses of the clean latents."""
        schedule, rows = self.denoiser.schedule, self.rows[step]
        cleaner = self.trajectory.latents[step + 1]
        eps = self._eps(step, rows)
        targets_eps = eps[rows.first_text : rows.first_negative]
        if rows.base:
            base_eps = eps[rows.first_base : rows.first_text]
            difference = targets_eps - base_eps
            self.blend.observe(difference)
            targets_eps = base_eps + self.guidance * proximal(difference, self.request.guidance_quantile)
        if rows.negative:  # the negation of composable diffusion (arXiv 2206.01714, eq. 13)
            avoided, empty = eps[rows.first_negative :].chunk(2)
            targets_eps = targets_eps - self.push * (avoided - empty)
        self.targets = schedule.step(step, self.targets, targets_eps)
        if rows.source:
            source_eps = eps[0]
            if rows.source_base:
                source_eps = eps[1] + guidance_at(self.request, step) * (eps[0] - eps[1])
            self._advance_source(step, source_eps, cleaner)
        if self.request.source_pinned:
            self.source = cleaner
        self.blend.update(step)
        if step in spatial_steps(self.request):
            self._regularise(step, targets_eps)
        self.targets = self.blend.mix(step, self.targets, cleaner)
        return schedule.clean(step + 1, self.targets, targets_eps)

    def _advance_source(self, step: int, eps: torch.Tensor, cleaner: torch.Tensor) -> None:
        """A pinned source gives the targets a share of what it would lose in this step; another one takes the step."""
        landed = self.denoiser.schedule.step(step, self.source, eps)
        if not self.request.source_pinned:
            self.source = landed
        elif step in window_steps(self.request.residual_window, self.request.steps):
            self.targets = self.targets + self.residual * (cleaner - landed)

    def _regularise(self, step: int, eps: torch.Tensor) -> None:
        """One descent step of the spatial loss, outside the places where the edit may happen."""
        level = self.denoiser.schedule.alpha_bars[step + 1]
        moved = []
        for latents, noise, mask in zip(self.targets, eps, self.blend.masks, strict=True):
            down = self.spatial.descent(latents, noise, level)
            moved.append(latents - (down if mask is None else down * ~mask[:, None]))
            self.vae_evaluations += self.spatial.evaluations_per_step
        self.targets = torch.stack(moved)

    def _eps(self, step: int, rows: Rows) -> torch.Tensor:
        """The noise of all frames, (R, F, C, h, w), in the order of `Rows`: in one call or window by window."""
        embeddings, edit = self._embeddings(step, rows), self._edit_step(step, rows)
        if len(self.windows) <= 1:
            return self.denoiser.eps(step, self._latents(rows), embeddings, edit)
        parts = []
        for passage in passages(self.windows):
            frames, watched = len(passage.frames), () if passage.leading else edit.watched
            part = replace(edit, frames=frames, passage=passage, watched=watched)
            eps = self.denoiser.eps(step, self._latents(rows, passage.places), embeddings, part)
            if not passage.leading:
                parts.append(eps)
                self.on_frames(step, passage.frames[-1] + 1)
        return torch.cat(parts, dim=1)

    def _latents(self, rows: Rows, frames: Sequence[int] | slice = slice(None)) -> torch.Tensor:
        """(R, F, C, h, w) of these frames in the order of `Rows`."""
        source, targets = self.source[None, frames], self.targets[:, frames]
        return torch.cat([*[source] * rows.first_base, *[targets] * (rows.base + 1 + 2 * rows.negative)])

    def _embeddings(self, step: int, rows: Rows) -> torch.Tensor:
        """(R, T, d) in the order of `Rows`."""
        text = self.conditioning
        base = text.source if self.request.guidance_base == "source" else text.empty
        if self.null_text is not None:
            base = self.null_text.embeddings[step].to(text.source.device)
        target_base = base if text.negative is None or self.pushed else text.negative
        parts = [text.source] * rows.source + [base] * rows.source_base
        pushing = [text.negative] * rows.targets + [text.empty] * rows.targets if rows.negative else []
        return torch.cat([*parts, *([target_base] * rows.targets if rows.base else []), text.targets, *pushing])

    def _edit_step(self, step: int, rows: Rows) -> EditStep:
        """What the attention layers do in this step."""
        request = self.request
        takeovers = tuple(
            Takeover(rows.first_text + j, 0, plan.mapper, plan.share, plan.method == "replace")
            for j, plan in enumerate(self.plans)
            if rows.source and step in window_steps(plan.window, request.steps)
        )
        weights = torch.stack([plan.weights for plan in self.plans])
        others = (rows.first_text, rows.count - rows.first_negative)
        looking = () if self.looking is None else (self.looking,)
        return EditStep(
            frames=len(self.source),
            reads=self._reads(step, rows),
            reads_maps=request.self_attention == "source_maps",
            reads_level=self.reads_level,
            takeovers=takeovers,
            weights=F.pad(weights, (0, 0, *others), value=1.0) if request.word_weights else None,
            watched=rows.texts if looking else self.blend.watched(rows),
            maps=(*self.blend.gathered, *looking),
        )

    def _reads(self, step: int, rows: Rows) -> torch.Tensor | None:
        """For every row the row whose self-attention it takes (R,), or None where each has its own.

        A reading target's text row takes the source's, its base row the source's base, or the source if that has none.
        """
        reading = [step in window_steps(plan.self_window, self.request.steps) for plan in self.plans]
        if self.request.self_attention == "own" or not rows.source or not any(reading):
            return None
        reads = list(range(rows.count))
        for j, reads_source in enumerate(reading):
            if reads_source:
                reads[rows.first_text + j] = 0
                if rows.base:
                    reads[rows.first_base + j] = int(rows.source_base)
        return torch.tensor(reads, device=self.source.device)
