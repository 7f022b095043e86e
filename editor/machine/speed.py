"""Wall time of an edit's UNet stages against the same rows through the UNet without any control."""

import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTokenizer

from editor.diffusion.kernels import SDPA
from editor.machine.shapes import BETAS, SHAPES, TOKENIZER, random_unet
from editor.method.attention import EditStep, attached, processors_for
from editor.method.branches import row_schedule
from editor.method.inversion import invert
from editor.method.sampling import Conditioning, sample_edit
from editor.method.schedule import Schedule
from editor.method.words import ControlPlan, plan_control
from editor.request import EditRequest

ROUNDS = 3  # the variants take turns, and the fastest round of each counts: other programs only ever slow one down
FRAMES = 8


class Bout:
    """The parts that all variants share: the built-in model's shape with random weights, and one request."""

    def __init__(self, request: EditRequest, shape: str = "small", frames: int = FRAMES) -> None:
        config = SHAPES[shape].unet
        self.request, self.frames = request, frames
        self.unet: UNet2DConditionModel = random_unet(shape)
        scheduler = DDIMScheduler(**BETAS, prediction_type=SHAPES[shape].prediction_type)
        self.schedule = Schedule.from_scheduler(scheduler, request.steps)
        tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
        self.plan: ControlPlan = plan_control(request.source, request.targets[0], request, tokenizer)
        noise = torch.Generator().manual_seed(0)
        side = config["sample_size"]
        self.latents = torch.randn(frames, self.unet.config.in_channels, side, side, generator=noise)
        self.text = Conditioning(*torch.randn(3, 1, 77, config["cross_attention_dim"], generator=noise))

    def controlled(self) -> None:
        """Inversion and edit as they are."""
        trajectory = invert(self.unet, self.schedule, self.latents, self.text.source)
        sample_edit(self.unet, self.schedule, trajectory, [self.plan], self.text, self.request)

    def bare(self) -> None:
        """The same rows through the same attention layout, without control."""
        layout = (self.request.frame_attention, self.request.dense_layers)
        with attached(self.unet, processors_for(self.unet, SDPA)):
            self._rows([1] * self.request.steps, EditStep(self.frames))
        with attached(self.unet, processors_for(self.unet, SDPA, *layout)):
            self._rows(self._counts(), EditStep(self.frames))

    def plain(self) -> None:
        """The same rows through diffusers' own attention, frame by frame."""
        self._rows([1] * self.request.steps, None)
        self._rows(self._counts(), None)

    def _counts(self) -> list[int]:
        return [rows.count for rows in row_schedule(self.request, [self.plan])]

    @torch.no_grad()
    def _rows(self, counts: list[int], edit: EditStep | None) -> None:
        """One UNet call per step with `count` rows of all frames; our layers want text per row, others per frame."""
        for step, count in enumerate(counts):
            batch = self.latents.repeat(count, 1, 1, 1)
            text = self.text.source.expand(count if edit else len(batch), -1, -1)
            extra: dict[str, Any] = {"cross_attention_kwargs": {"edit": edit}} if edit else {}
            self.unet(batch, self.schedule.timesteps[step], encoder_hidden_states=text, **extra)


def wall_ratios(say: Callable[[str], None], steps: int | None = None) -> dict[str, float]:
    """`wall_ratio`: controlled over bare; `layout_ratio`: bare over plain; preset balanced, built-in model's shape."""
    request = EditRequest.from_preset(
        "balanced", source="a red car on the road", targets=("a blue car on the road",), steps=steps
    )
    bout = Bout(request)
    variants = {"controlled": bout.controlled, "bare": bout.bare, "plain": bout.plain}
    best = dict.fromkeys(variants, float("inf"))
    for number in range(ROUNDS):
        say(f"timing the UNet stages, round {number + 1} of {ROUNDS}")
        for name, run in variants.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return {"wall_ratio": best["controlled"] / best["bare"], "layout_ratio": best["bare"] / best["plain"]}
