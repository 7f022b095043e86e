"""Loading a checkpoint: which device, which precision, and the parts ready to be called.

The only module that names a device. Weights come from safetensors files alone, components are built by their own
classes (no pipeline code from a checkpoint is ever run), and accelerate places and offloads them.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import cpu_offload_with_hook
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from editor.diffusion.catalog import Checkpoint, locate, read_json
from editor.diffusion.kernels import KernelChoice, choose_kernel
from editor.diffusion.safety import SafetyChecker
from editor.events import EditError
from editor.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """A loaded checkpoint. Inputs go to `device`; where the weights rest between uses is accelerate's business."""

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


def load_models(name: str = "demo", settings: Settings | None = None) -> Models:
    """Load the catalog name or checkpoint folder `name` as `settings` say (default: from the environment).

    Raises `EditError` when the model is unknown, unreachable or of a kind that cannot be used, or when the device
    that was asked for is not there. Every choice made here stands in `notes` and in the log with its reason.
    """
    settings = Settings.from_env() if settings is None else settings
    device, why_device = choose_device(settings.device)
    dtype, why_dtype = choose_dtype(device)
    checkpoint = locate(name)
    _refuse_other_kinds(checkpoint)
    parts = _load_parts(checkpoint, device, dtype)
    safety, why_safety = _load_safety(checkpoint, settings, device)
    kernel = choose_kernel(device, dtype, settings.attention)
    notes = [f"device {device.type}: {why_device}", f"precision {str(dtype)[6:]}: {why_dtype}", why_safety]
    notes.append(f"attention kernel {kernel.name}: {kernel.reason}")
    if settings.offload == "model" and device.type == "cpu":
        notes.append("offloading: has no use on the CPU, nothing was offloaded")
    elif settings.offload == "model":
        checker = [safety.model] if safety else []
        offload([parts["text_encoder"], parts["vae"], parts["unet"], *checker], device)
        notes.append("offloading: each part rests in main memory while another works (EDITOR_OFFLOAD=model)")
    for note in notes:
        log.debug(note)
    return Models(
        name=name,
        revision=checkpoint.revision,
        weights_hash=checkpoint.weights_hash,
        scheduler=_load_scheduler(checkpoint.folder),
        safety=safety,
        device=device,
        device_reason=why_device,
        dtype=dtype,
        dtype_reason=why_dtype,
        kernel=kernel,
        notes=tuple(notes),
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
        raise EditError(f"EDITOR_DEVICE is '{asked}', but PyTorch finds none here. Found: {found}. Use one, or auto.")
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


def choose_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """The precision of the UNet's weights on `device`, and the reason for it."""
    if device.type == "cuda":
        return torch.float16, "half the memory; the VAE and the text encoder stay in float32, which never turns black"
    return torch.float32, f"the fastest and safest one on {device.type}"


def _load_parts(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Tokenizer, text encoder, VAE and UNet, on their device, without gradients, in evaluation mode."""
    folder = checkpoint.folder
    from_files = {"use_safetensors": True, "local_files_only": True, "device_map": {"": device}}
    try:
        parts = {
            "tokenizer": CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
            "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32, **from_files),
            "vae": AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **from_files),
            "unet": UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **from_files),
        }
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise EditError(f"The model '{checkpoint.name}' in '{folder}' cannot be loaded: {error}") from error
    for part in ("text_encoder", "vae", "unet"):
        parts[part].requires_grad_(False).eval()
    _refuse_mismatch(checkpoint, parts)
    return parts


def _load_scheduler(folder: Path) -> DDIMScheduler:
    """DDIM over the checkpoint's own noise levels, whatever scheduler class its config was written for."""
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    return DDIMScheduler.from_config(
        config,
        clip_sample=False,
        thresholding=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )


def _load_safety(checkpoint: Checkpoint, settings: Settings, device: torch.device) -> tuple[SafetyChecker | None, str]:
    """The checkpoint's safety checker, and a sentence on whether it is in use."""
    if not (checkpoint.folder / "safety_checker" / "model.safetensors").is_file():
        return None, "safety checker: this checkpoint has none"
    if settings.safety == "off":
        return None, "safety checker: turned off with EDITOR_SAFETY=off"
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    model = StableDiffusionSafetyChecker.from_pretrained(
        checkpoint.folder / "safety_checker", use_safetensors=True, local_files_only=True, dtype=torch.float32
    )
    processor = CLIPImageProcessor.from_pretrained(checkpoint.folder / "feature_extractor", local_files_only=True)
    return SafetyChecker(processor, model.requires_grad_(False).eval().to(device), device), "safety checker: in use"


def offload(modules: list[torch.nn.Module], device: torch.device) -> None:
    """Let each of `modules` rest in main memory and come to `device` when it is called, sending the last one back."""
    hook = None
    for module in modules:
        module.to("cpu")
        _, hook = cpu_offload_with_hook(module, device, prev_module_hook=hook)


def _refuse_other_kinds(checkpoint: Checkpoint) -> None:
    """Raise `EditError` for checkpoints of another family, before gigabytes of weights are read."""
    unet = read_json(checkpoint.folder / "unet" / "config.json")
    kind = unet.get("_class_name", "UNet2DConditionModel")
    two_encoders = (checkpoint.folder / "text_encoder_2").is_dir()
    if kind != "UNet2DConditionModel" or unet.get("addition_embed_type") or two_encoders:
        raise EditError(
            f"The model '{checkpoint.name}' is of another family ({kind}). Usable are Stable Diffusion 1.x and 2.x "
            "checkpoints and fine-tunes of them: one text encoder and a UNet2DConditionModel."
        )


def _refuse_mismatch(checkpoint: Checkpoint, parts: dict[str, Any]) -> None:
    """Raise `EditError` when the parts of a folder do not fit each other, e.g. an inpainting UNet."""
    unet, vae, text = (parts[p].config for p in ("unet", "vae", "text_encoder"))
    if unet.in_channels != vae.latent_channels:
        raise EditError(
            f"The model '{checkpoint.name}' cannot be used: its UNet takes {unet.in_channels} channels and its VAE "
            f"gives {vae.latent_channels}. Inpainting checkpoints are of this kind; use a text-to-image one."
        )
    if unet.cross_attention_dim != text.hidden_size:
        raise EditError(
            f"The model '{checkpoint.name}' cannot be used: its UNet expects text of width {unet.cross_attention_dim} "
            f"and its text encoder gives {text.hidden_size}. The parts come from different checkpoints."
        )
