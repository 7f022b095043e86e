"""Checkpoints in a single safetensors file, as people share them: what kind it is, and its parts in diffusers' layout.

The kind is told by the names and shapes in the file's header; configurations and vocabulary are shipped, so nothing is
asked of a network. The names are translated by diffusers.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders import single_file_utils as ldm
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from editor.diffusion.layouts import BETAS, DDIM, LAYOUTS, Layout
from editor.events import EditError
from editor.settings import ROOT

TOKENIZER = ROOT / "assets" / "clip_tokenizer"
LONGEST_HEADER = 100_000_000  # bytes, safetensors' own limit
UNET, CONV_IN = "model.diffusion_model.", "model.diffusion_model.input_blocks.0.0.weight"
CLIP_1, CLIP_2, CLIP_XL, CLIP_XL_2 = (
    "cond_stage_model.transformer.",
    "cond_stage_model.model.",
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.1.model.",
)


@dataclass(frozen=True)
class Header:
    """What stands at the beginning of a safetensors file: the tensors' shapes by name, and its metadata."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    def has(self, *beginnings: str) -> bool:
        """Whether there is a tensor for each of the `beginnings` of names."""
        return all(any(name.startswith(beginning) for name in self.shapes) for beginning in beginnings)


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises `EditError` for what is none, and for a file that was cut short."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= min(LONGEST_HEADER, size - 8):
                raise ValueError("its header has no valid length")
            entries = json.loads(file.read(length))
        metadata = entries.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise EditError(
            f"The file '{path}' is not a safetensors file: {error}. It may be damaged, or a renamed pickle, which is "
            "never read. Download it again."
        ) from error
    if size != 8 + length + end:
        raise EditError(
            f"The file '{path}' is {size} bytes long instead of {8 + length + end}: it was cut short or damaged. "
            "Download it again."
        )
    return Header(shapes, metadata)


def kind_of(path: Path, header: Header) -> str:
    """The layout of a checkpoint file: sd15, sd21 or sdxl. Raises `EditError` for all others, saying what."""
    if header.has(UNET):
        for kind, encoders in {"sdxl": (CLIP_XL, CLIP_XL_2), "sd21": (CLIP_2,), "sd15": (CLIP_1,)}.items():
            if header.has(*encoders):
                channels = header.shapes.get(CONV_IN, (0, 0))[1]
                if channels == 4:
                    return kind
                raise EditError(
                    f"The checkpoint '{path}' cannot be used: its UNet takes {channels} channels instead of 4. "
                    "Inpainting checkpoints are of this kind; use a text-to-image one."
                )
        what = "a UNet without its text encoder, or the refiner of Stable Diffusion XL"
    elif any("lora" in name for name in header.shapes):
        what = "a LoRA. Give it with --lora, together with a checkpoint"
    elif header.has("decoder.conv_in.", "encoder.conv_in."):
        what = "a VAE alone. Give it with --vae, together with a checkpoint"
    else:
        what = "of another family"
    titles = ", ".join(layout.title for layout in LAYOUTS.values())
    raise EditError(f"The file '{path}' is not a usable checkpoint: it is {what}. Usable are {titles}.")


def prediction_of(path: Path, header: Header, layout: Layout) -> str:
    """What the network of a checkpoint file predicts. Weights do not tell, so the metadata, a marker or the name must.

    Stable Diffusion 2.x has both kinds: the one of 512 pixels predicts the noise.
    """
    said = header.metadata.get("modelspec.prediction_type", "")
    if said in ("epsilon", "v"):
        return {"epsilon": "epsilon", "v": "v_prediction"}[said]
    if "v_pred" in header.shapes:
        return "v_prediction"
    small = (
        header.metadata.get("modelspec.resolution", "").startswith("512") or "512" in path.stem or "base" in path.stem
    )
    return "epsilon" if small else layout.prediction_type


def load_single_file(path: Path, device: torch.device, dtype: torch.dtype) -> tuple[dict[str, Any], str]:
    """The parts of a checkpoint file by name, as from a folder, and a sentence on what it is.

    Every tensor that a part needs must be there, in its shape. Raises `EditError`.
    """
    header = read_header(path)
    layout = LAYOUTS[kind_of(path, header)]
    prediction = prediction_of(path, header, layout)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise EditError(f"The file '{path}' cannot be read: {error}. Download it again.") from error
    unet = {**layout.unet, "sample_size": 64} if layout is LAYOUTS["sd21"] and prediction == "epsilon" else layout.unet
    parts: dict[str, Any] = {
        "unet": _built(path, UNet2DConditionModel, unet, ldm.convert_ldm_unet_checkpoint, state, device, dtype),
        "vae": load_vae(path, layout, state, device),
        "text_encoder": _text_encoder(path, layout, state, device),
        "tokenizer": _tokenizer("<|endoftext|>" if layout.title != LAYOUTS["sd21"].title else "!"),
        "scheduler": DDIMScheduler(**BETAS, prediction_type=prediction, **DDIM),
    }
    if layout.text_2 is not None:
        model = CLIPTextModelWithProjection(CLIPTextConfig(**layout.text_2))
        translated = ldm.convert_open_clip_checkpoint(model, state, CLIP_XL_2)
        parts["text_encoder_2"] = _filled(path, model, translated).to(device, torch.float32)
        parts["tokenizer_2"] = _tokenizer("!")
    return parts, f"single file: {layout.title}, predicts {prediction}"


def load_vae(path: Path, layout: Layout, state: Mapping[str, torch.Tensor], device: torch.device) -> AutoencoderKL:
    """The VAE in the tensors of a checkpoint or of a VAE file, in float32."""
    return _built(path, AutoencoderKL, layout.vae, ldm.convert_ldm_vae_checkpoint, state, device, torch.float32)


def _text_encoder(
    path: Path, layout: Layout, state: Mapping[str, torch.Tensor], device: torch.device
) -> torch.nn.Module:
    model = CLIPTextModel(CLIPTextConfig(**layout.text))
    if any(name.startswith(CLIP_2) for name in state):
        translated = ldm.convert_open_clip_checkpoint(model, state, CLIP_2)
    else:
        translated = ldm.convert_ldm_clip_checkpoint(state)
    return _filled(path, model, translated).to(device, torch.float32)


def _built(
    path: Path,
    kind: type,
    config: Mapping[str, Any],
    translate: Callable[..., dict[str, torch.Tensor]],
    state: Mapping[str, torch.Tensor],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:  # noqa: ANN401 - an instance of `kind`
    """A diffusers model of this `config` with the file's weights in its names."""
    with init_empty_weights():
        model = kind(**config)
    return _filled(path, model, translate(dict(state), config=model.config)).to(device, dtype)


def _filled(path: Path, model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """`model` with the weights of `state`. Raises `EditError` when one is missing or of another shape."""
    wanted = model.state_dict()
    if not hasattr(model, "text_model"):  # newer transformers have one level less
        state = {name.removeprefix("text_model."): value for name, value in state.items()}
    missing = [name for name in wanted if name not in state and not name.endswith("position_ids")]
    other = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    if missing or other:
        what = f"{len(missing)} tensors are missing" if missing else f"'{other[0]}' has another shape"
        raise EditError(
            f"The checkpoint '{path}' cannot be loaded: of its {type(model).__name__} {what}. It is damaged, or of a "
            "kind whose sizes differ from the published ones; such a model can be used as a diffusers folder."
        )
    model.load_state_dict({name: state[name] for name in wanted if name in state}, strict=False, assign=True)
    return model


def _tokenizer(padding: str) -> CLIPTokenizer:
    """CLIP's tokenizer, which is shipped; the second encoders pad with "!"."""
    return CLIPTokenizer.from_pretrained(TOKENIZER, local_files_only=True, pad_token=padding)
