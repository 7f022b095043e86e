"""Loading a checkpoint: which device, which precision, and the parts ready to be called.

The only module that names a device; accelerate places and offloads the weights.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import cpu_offload_with_hook
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from editor.diffusion.catalog import locate
from editor.diffusion.kernels import KernelChoice, choose_kernel
from editor.diffusion.loading import load_other_vae, load_parts, load_safety
from editor.diffusion.lora import add_loras
from editor.diffusion.prompts import embed, embed_xl
from editor.diffusion.safety import SafetyChecker
from editor.events import EditError
from editor.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """A loaded checkpoint. Inputs go to `device`; where the weights rest between uses is accelerate's business.

    `additions`: what was put into it besides, another VAE and LoRAs, by name, content and strength.
    """

    name: str
    revision: str
    weights_hash: str | None
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: DDIMScheduler
    safety: SafetyChecker | None
    device: torch.device
    device_reason: str
    dtype: torch.dtype
    dtype_reason: str
    kernel: KernelChoice
    notes: tuple[str, ...] = ()
    tokenizer_2: CLIPTokenizer | None = None
    text_encoder_2: CLIPTextModelWithProjection | None = None
    additions: tuple[str, ...] = ()

    @property
    def vae_factor(self) -> int:
        """Pixels per latent cell along one axis."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def multiple(self) -> int:
        """Pixels that a side must be a multiple of, so that every level of the UNet divides evenly."""
        return self.vae_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    @property
    def native_size(self) -> int:
        """The side, in pixels, that the checkpoint was trained at."""
        size = self.unet.config.sample_size
        return self.vae_factor * (size if isinstance(size, int) else max(size))

    def embed(self, prompts: Sequence[str], clip_skip: int = 0) -> torch.Tensor:
        """Text embeddings (P, T, d) of `prompts`, float32; see `prompts.embed` and `prompts.embed_xl`."""
        if self.text_encoder_2 is None:
            return embed(self.tokenizer, self.text_encoder, prompts, self.device, clip_skip)
        pairs = ((self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2))
        return embed_xl(pairs, prompts, self.device, clip_skip)


def load_models(
    name: str = "demo",
    settings: Settings | None = None,
    *,
    vae: str = "",
    loras: Mapping[str, float] | None = None,
) -> Models:
    """Load the checkpoint `name`, see `catalog.locate`, as `settings` say (default: from the environment).

    `vae`: another VAE, see `loading.load_other_vae`. `loras`: LoRAs by name or file, with their strength. Raises
    `EditError` when something is unknown, unreachable or of a kind that cannot be used, or when the device that was
    asked for is not there. Every choice made here stands in `notes` and in the log with its reason.
    """
    settings = Settings.from_env() if settings is None else settings
    device, why_device = choose_device(settings.device)
    dtype, why_dtype = choose_dtype(device, settings.dtype)
    checkpoint = locate(name, half=dtype.itemsize == 2)
    parts, said = load_parts(checkpoint, device, dtype)
    additions: list[str] = []
    if vae:
        parts["vae"], note = load_other_vae(vae, "text_encoder_2" in parts, device)
        said.append(note)
        additions.append(vae)
    additions += add_loras(parts, loras or {}, settings.loras)
    said += [f"LoRA: {addition}" for addition in additions[bool(vae) :]]
    safety, why_safety = load_safety(checkpoint, settings.safety == "on", device)
    kernel = choose_kernel(device, dtype, settings.attention, head_sizes(parts["unet"]))
    notes = [f"device {device.type}: {why_device}", f"precision {str(dtype)[6:]}: {why_dtype}", why_safety, *said]
    notes.append(f"attention kernel {kernel.name}: {kernel.reason}")
    if device.type == "cuda":  # convolutions run on tensor cores without a transpose before and after
        for part in ("vae", "unet"):
            parts[part].to(memory_format=torch.channels_last)
    if settings.offload == "model" and device.type == "cpu":
        notes.append("offloading: not used, since it has no effect on the CPU")
    elif settings.offload == "model":
        modules = [part for part in parts.values() if isinstance(part, torch.nn.Module)]
        offload([*modules, *([safety.model] if safety else [])], device)
        notes.append("offloading: each part waits in main memory while another works (EDITOR_OFFLOAD=model)")
    for note in notes:
        log.debug(note)
    return Models(
        name=name,
        revision=checkpoint.revision,
        weights_hash=checkpoint.weights_hash,
        safety=safety,
        device=device,
        device_reason=why_device,
        dtype=dtype,
        dtype_reason=why_dtype,
        kernel=kernel,
        notes=tuple(notes),
        additions=tuple(additions),
        **parts,
    )


def choose_device(asked: str) -> tuple[torch.device, str]:
    """The device and the reason for it. `asked` is auto, cpu, cuda or mps; a missing one raises `EditError`."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        kind = next(k for k, ok in there.items() if ok)
        return torch.device(kind), "the only one here" if kind == "cpu" else "the fastest one here"
    if not there[asked]:
        found = ", ".join(k for k, ok in there.items() if ok)
        raise EditError(
            f"EDITOR_DEVICE is '{asked}', but PyTorch finds none here. Found: {found}. Use one of these, or auto."
        )
    return torch.device(asked), "asked for with EDITOR_DEVICE"


def describe_device(device: torch.device) -> str:
    """The device's kind, and on CUDA its name and memory."""
    if device.type != "cuda":
        return device.type
    found = torch.cuda.get_device_properties(device)
    return f"cuda, {found.name}, {found.total_memory / 1e9:.0f} GB"


def peak_memory(device: torch.device) -> float | None:
    """Most bytes that PyTorch has held on `device` so far, None where it does not count them."""
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None


def choose_dtype(device: torch.device, asked: str = "auto") -> tuple[torch.dtype, str]:
    """The precision of the UNet's weights on `device`, and the reason for it; `asked` is `Settings.dtype`."""
    if asked != "auto":
        return getattr(torch, asked), "asked for with EDITOR_DTYPE"
    if device.type == "cuda":
        return torch.float16, "half the memory; the VAE and the text encoder stay in float32, which avoids black frames"
    return torch.float32, f"the fastest and safest on {device.type}"


def head_sizes(unet: UNet2DConditionModel) -> tuple[int, ...]:
    """The widths of single heads that attention in `unet` runs with."""
    layers = (unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors)
    return tuple(sorted({layer.inner_dim // layer.heads for layer in layers}))


def offload(modules: list[torch.nn.Module], device: torch.device) -> None:
    """Let each of `modules` rest in main memory and come to `device` when it is called, sending the last one back."""
    hook = None
    for module in modules:
        module.to("cpu")
        _, hook = cpu_offload_with_hook(module, device, prev_module_hook=hook)
