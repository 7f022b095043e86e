"""One edit on tiny components, as the pipeline makes it: invert, fit where asked, plan, sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.method.denoiser import OnStep, unheard
from editor.method.inversion import Trajectory, invert, noised
from editor.method.null_text import NullText, fit_null_text
from editor.method.plan import ControlPlan, plan_control
from editor.method.sampling import Conditioning, Sampled, sample_edit
from editor.method.schedule import Schedule
from editor.method.spatial import SpatialLoss
from editor.method.windows import Window
from editor.request import EditRequest
from tests import tiny

SOURCE = "a red car on the road"


@dataclass(frozen=True)
class Run:
    """Everything that one edit went through."""

    trajectory: Trajectory
    null_text: NullText | None
    plans: tuple[ControlPlan, ...]
    sampled: Sampled

    @property
    def evaluations(self) -> float:
        """All UNet evaluations per frame."""
        fit = self.null_text.unet_evaluations if self.null_text else 0.0
        return self.trajectory.unet_evaluations + fit + self.sampled.unet_evaluations


def ask(*targets: str, preset: str | None = None, source: str = SOURCE, **values: object) -> EditRequest:
    """A valid request: a preset's, or one that stays the same whatever numbers the evaluation gives the presets."""
    fixed = {"steps": 25, "guidance_scale": 7.5, "guidance_stop": 0.6, "blend_threshold": 0.3}
    fixed = (
        {**fixed, "subject_window": 1.0, "subject_guidance": 1.0, "setting_guidance": 1.0, "self_attention": "own"}
        if preset is None
        else {}
    )
    asked = {"source": source, "targets": targets or (source,), **fixed, **values}
    return EditRequest.from_preset(preset or "balanced", **asked).validated()


def run_edit(
    parts: tiny.Tiny,
    request: EditRequest,
    latents: torch.Tensor,
    *,
    trajectory: Trajectory | None = None,
    kernel: KernelChoice = SDPA,
    spatial: SpatialLoss | None = None,
    windows: Sequence[Window] = (),
    region: torch.Tensor | None = None,
    on_step: OnStep = unheard,
) -> Run:
    """Edit clean `latents` (F, C, h, w); a `trajectory` from an earlier run is not found again."""
    schedule = Schedule.from_scheduler(parts.scheduler, request.steps)
    source, empty = parts.embed(request.source), parts.embed("")
    if trajectory is None:
        prompt = empty if request.inversion_prompt == "empty" else source
        trajectory = (
            noised(schedule, latents)
            if request.inversion == "virtual"
            else invert(parts.unet, schedule, latents, prompt, kernel=kernel)
        )
    null_text = None
    if request.inversion == "null_text":
        null_text = fit_null_text(parts.unet, schedule, trajectory, source, empty, request, kernel=kernel)
    plans = tuple(plan_control(request.source, t, request, parts.tokenizer) for t in request.targets)
    conditioning = Conditioning(
        source=source,
        targets=torch.cat([parts.embed(t) for t in request.targets]),
        empty=empty,
        negative=parts.embed(request.negative_prompt) if request.negative_prompt else None,
    )
    sampled = sample_edit(
        parts.unet,
        schedule,
        trajectory,
        plans,
        conditioning,
        request,
        kernel=kernel,
        null_text=null_text,
        spatial=spatial,
        windows=windows,
        region=region,
        on_step=on_step,
    )
    return Run(trajectory, null_text, plans, sampled)
