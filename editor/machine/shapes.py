"""Checkpoints of known shape with random weights: for measuring, and for proving that a machine can run them.

They make noise, not pictures, but load, run, cost and fail exactly as trained ones of that shape do.
"""

import json
import shutil
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from editor.diffusion.catalog import read_json
from editor.diffusion.kernels import SDPA
from editor.diffusion.layouts import BETAS, LAYOUTS, Layout
from editor.method.attention import EditStep, attached, processors_for
from editor.settings import ROOT

TOKENIZER = ROOT / "assets" / "demo_model" / "tokenizer"
"""Any CLIP tokenizer serves; this one is shipped."""
VOCABULARY = 49408
"""Tokens of CLIP's vocabulary."""
SPREAD = 0.02
"""Standard deviation of the random weights, small enough that nothing overflows in half precision."""


BUILT_IN = ROOT / "assets" / "demo_model"


def layout(shape: str) -> Layout:
    """The configurations of a kind of Stable Diffusion, or of the built-in model as it is now, under the name small."""
    if shape != "small":
        return LAYOUTS[shape]
    unet, vae, text = (read_json(BUILT_IN / part / "config.json") for part in ("unet", "vae", "text_encoder"))
    kind = read_json(BUILT_IN / "scheduler" / "scheduler_config.json")["prediction_type"]
    sizes = {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "projection_dim"}
    return Layout(
        "Built-in model",
        unet={name: value for name, value in unet.items() if not name.startswith("_")},
        vae={name: value for name, value in vae.items() if not name.startswith("_")},
        text={name: value for name, value in text.items() if name in sizes},
        prediction_type=kind,
    )


def random_unet(shape: str, seed: int = 0) -> UNet2DConditionModel:
    """The shape's UNet in evaluation mode, without gradients; the same weights for a seed everywhere."""
    return _filled(lambda: UNet2DConditionModel(**layout(shape).unet), seed)


def save_random(shape: str, folder: Path, seed: int = 0) -> Path:
    """Write a whole checkpoint folder of random weights: safetensors, a PNDM scheduler config as SD 1.x ships it."""
    parts = layout(shape)
    makers: dict[str, Callable[[], torch.nn.Module]] = {
        "unet": lambda: UNet2DConditionModel(**parts.unet),
        "vae": lambda: AutoencoderKL(**parts.vae),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(vocab_size=VOCABULARY, **parts.text)),
    }
    if parts.text_2 is not None:
        text_2 = CLIPTextConfig(vocab_size=VOCABULARY, **parts.text_2)
        makers["text_encoder_2"] = lambda: CLIPTextModelWithProjection(text_2)
        shutil.copytree(TOKENIZER, folder / "tokenizer_2")
    for name, make in makers.items():
        _filled(make, seed).save_pretrained(folder / name)
    shutil.copytree(TOKENIZER, folder / "tokenizer")
    scheduler = {"_class_name": "PNDMScheduler", "prediction_type": parts.prediction_type, **BETAS}
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


def meta_parts(shape: str) -> tuple[UNet2DConditionModel, AutoencoderKL]:
    """The shape's UNet and VAE without memory for weights: enough to count operations."""
    with torch.device("meta"):
        return UNet2DConditionModel(**layout(shape).unet), AutoencoderKL(**layout(shape).vae)


class Allocated(TorchDispatchMode):
    """Counts the bytes of tensors that are alive while it is on; `peak` is the most there were at once.

    It counts what PyTorch's own allocator is asked for. Workspaces inside kernels are beside it.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204 - as torch declares it
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._seen:
            self._seen.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def counted_peak(shape: str, rows: int, frames: int, cells: int, dtype: torch.dtype) -> int:
    """Bytes beyond the weights that one UNet call of `rows` x `frames` latents of `cells` per side holds at its peak.

    With attention across frames as the presets have it. Counted with tensors that have a shape and no content.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(), torch.no_grad():
            unet = UNet2DConditionModel(**layout(shape).unet).eval().requires_grad_(False)
            latents = torch.zeros(rows * frames, unet.config.in_channels, cells, cells)
            text = torch.zeros(rows, 77, unet.config.cross_attention_dim)
            counting = Allocated([*unet.parameters(), *unet.buffers(), latents, text])
            with attached(unet, processors_for(unet, SDPA, "sparse", "paper")), counting:
                unet(latents, 1, encoder_hidden_states=text, cross_attention_kwargs={"edit": EditStep(frames)})
    finally:
        torch.set_default_dtype(before)
    return counting.peak


def _filled(make: Any, seed: int) -> Any:  # noqa: ANN401 - a module's class and an instance of it
    """Build without the usual initialisation, which takes a minute at full size, and draw plain normal weights.

    Norms get a scale of one, so that signals keep their size through the layers.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        module = make()
    module = module.to_empty(device="cpu")
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.data.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            parameter.data.normal_(0.0, SPREAD, generator=generator)
    for name, buffer in module.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
    return module.eval().requires_grad_(False)
