"""The parts of a checkpoint on disk, ready to be called: tokenizers, text encoders, VAE, UNet and scheduler.

Weights come from safetensors files alone, and components are built by their own classes: no pipeline code from a
checkpoint is ever run.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from editor.diffusion.catalog import Checkpoint, is_xl, read_json, refuse_distilled
from editor.diffusion.hub import fetch, hub_id, variant_of
from editor.diffusion.layouts import DDIM, LAYOUTS
from editor.diffusion.safety import SafetyChecker
from editor.diffusion.single_file import load_single_file, load_vae, read_header
from editor.events import EditError


def load_parts(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> tuple[dict[str, Any], list[str]]:
    """The parts by name, on their device, without gradients and in evaluation mode; and what there is to say.

    The UNet has `dtype`, everything else float32. Raises `EditError` for checkpoints that cannot be used.
    """
    refuse_distilled(checkpoint.name, checkpoint.path if checkpoint.path.is_dir() else None)
    notes: list[str] = []
    if checkpoint.path.is_dir():
        _refuse_other_kinds(checkpoint)
        parts = _load_folder(checkpoint, device, dtype)
    else:
        parts, said = load_single_file(checkpoint.path, device, dtype)
        notes.append(said)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    for part in ("tokenizer", "tokenizer_2"):
        _cap_length(parts, part)
    _refuse_mismatch(checkpoint, parts)
    return parts, notes


def _load_folder(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """The parts of a folder in diffusers layout."""
    folder = checkpoint.path

    def load(kind: Any, part: str, **options: Any) -> Any:  # noqa: ANN401 - a model's class and an instance of it
        common = {"use_safetensors": True, "local_files_only": True, "device_map": {"": device}}
        return kind.from_pretrained(folder / part, variant=variant_of(folder, part) or None, **common, **options)

    def tokenizer(part: str) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)

    try:
        parts = {
            "tokenizer": tokenizer("tokenizer"),
            "text_encoder": load(CLIPTextModel, "text_encoder", dtype=torch.float32),
            "vae": load(AutoencoderKL, "vae", torch_dtype=torch.float32),
            "unet": load(UNet2DConditionModel, "unet", torch_dtype=dtype),
        }
        if is_xl(folder):
            parts["tokenizer_2"] = tokenizer("tokenizer_2")
            parts["text_encoder_2"] = load(CLIPTextModelWithProjection, "text_encoder_2", dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise EditError(f"The model '{checkpoint.name}' in '{folder}' cannot be loaded: {error}") from error
    # DDIM over the checkpoint's own noise levels, whatever scheduler class its config was written for
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    parts["scheduler"] = DDIMScheduler.from_config(config, **DDIM)
    return parts


def load_other_vae(name: str, xl: bool, device: torch.device) -> tuple[AutoencoderKL, str]:
    """Another VAE in float32, for a checkpoint of Stable Diffusion XL or of another kind, and what it is.

    `name`: the folder of a VAE or of a checkpoint in diffusers layout, a safetensors file, or an id of the Hub.
    Raises `EditError`.
    """
    path = Path(name).expanduser()
    repository = None if path.exists() else hub_id(name)
    if repository is not None:
        path, _ = fetch(name, *repository, half=False, complete=False)
    if path.is_dir():
        inside = path / "vae" if (path / "vae").is_dir() else path
        try:
            options = {"use_safetensors": True, "local_files_only": True, "torch_dtype": torch.float32}
            vae = AutoencoderKL.from_pretrained(inside, **options).to(device)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise EditError(f"The VAE in '{path}' cannot be loaded: {error}") from error
    elif path.is_file() and path.suffix == ".safetensors":
        header = read_header(path)
        if not any("decoder.conv_in" in tensor for tensor in header.shapes):
            raise EditError(f"The file '{name}' contains no VAE. Give the .safetensors file of a VAE or a checkpoint.")
        vae = load_vae(path, LAYOUTS["sdxl" if xl else "sd15"], load_file(path), device)
    else:
        raise EditError(
            f"There is no VAE '{name}'. Give a folder in diffusers layout, a .safetensors file, or an id of the "
            "Hugging Face Hub. Pickled weights are never read."
        )
    return vae.requires_grad_(False).eval(), f"VAE: {name} instead of the checkpoint's own"


def load_safety(checkpoint: Checkpoint, enabled: bool, device: torch.device) -> tuple[SafetyChecker | None, str]:
    """The checkpoint's safety checker, and a sentence on whether it is in use."""
    if not checkpoint.path.is_dir() or variant_of(checkpoint.path, "safety_checker") is None:
        return None, "safety checker: this checkpoint has none"
    if not enabled:
        return None, "safety checker: turned off with EDITOR_SAFETY=off"
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    folder = checkpoint.path / "safety_checker"
    model = StableDiffusionSafetyChecker.from_pretrained(
        folder,
        variant=variant_of(checkpoint.path, "safety_checker") or None,
        use_safetensors=True,
        local_files_only=True,
        dtype=torch.float32,
    )
    processor = CLIPImageProcessor.from_pretrained(checkpoint.path / "feature_extractor", local_files_only=True)
    return SafetyChecker(processor, model.requires_grad_(False).eval().to(device), device), "safety checker: in use"


def _cap_length(parts: dict[str, Any], part: str) -> None:
    """Let a tokenizer that does not say its length give no more tokens than the text encoder has places."""
    if part in parts:
        places = parts[part.replace("tokenizer", "text_encoder")].config.max_position_embeddings
        parts[part].model_max_length = min(parts[part].model_max_length, places)


def _refuse_other_kinds(checkpoint: Checkpoint) -> None:
    """Raise `EditError` for checkpoints of another family, before gigabytes of weights are read."""
    unet = read_json(checkpoint.path / "unet" / "config.json")
    kind, added = unet.get("_class_name", "UNet2DConditionModel"), unet.get("addition_embed_type")
    if kind == "UNet2DConditionModel" and added == ("text_time" if is_xl(checkpoint.path) else None):
        return
    titles = ", ".join(layout.title for layout in LAYOUTS.values())
    raise EditError(
        f"The model '{checkpoint.name}' is of another family ({kind}{f' with {added}' if added else ''}). Usable are "
        f"{titles} and fine-tunes of them."
    )


def _refuse_mismatch(checkpoint: Checkpoint, parts: dict[str, Any]) -> None:
    """Raise `EditError` when the parts do not fit each other, e.g. an inpainting UNet."""
    unet, vae = parts["unet"].config, parts["vae"].config
    if unet.in_channels != vae.latent_channels:
        raise EditError(
            f"The model '{checkpoint.name}' cannot be used: its UNet takes {unet.in_channels} channels and its VAE "
            f"gives {vae.latent_channels}. Inpainting checkpoints are of this kind; use a text-to-image one."
        )
    width = sum(parts[part].config.hidden_size for part in ("text_encoder", "text_encoder_2") if part in parts)
    if unet.cross_attention_dim != width:
        raise EditError(
            f"The model '{checkpoint.name}' cannot be used: its UNet expects text of width {unet.cross_attention_dim} "
            f"and its text encoder gives {width}. The parts come from different checkpoints."
        )
