"""LoRAs: small files of changes to a checkpoint's weights (arXiv 2106.09685), put into it when it is loaded.

diffusers reads the formats that people share and peft applies them; then they are merged into the weights, so that an
edit costs what it costs without them.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editor.diffusion.catalog import offered_loras, refuse_distilled
from editor.diffusion.single_file import Header, read_header
from editor.events import EditError

BASES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}
"""Width of the text that a UNet's attention reads -> whose it is."""

DOWN = ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_A.default.weight")
"""How the formats end the name of the factor that reads the layer's input."""


def add_loras(parts: dict[str, Any], loras: Mapping[str, float], folder: Path) -> list[str]:
    """Merge `loras`, by name in `folder` or by file, with their strengths into a checkpoint's `parts`.

    Returns what identifies each: its name, the hash of its file and its strength. Raises `EditError` for a file that is
    missing, damaged or no LoRA, and for one that was made for another base.
    """
    if not loras:
        return []
    files = {name: _file(name, folder) for name in loras}
    for name, file in files.items():
        refuse_distilled(file.name)
        _refuse_other_base(name, read_header(file), parts["unet"].config.cross_attention_dim)
    pipeline = _pipeline(parts)
    try:
        for index, (name, file) in enumerate(files.items()):
            at_fault = name
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=f"lora_{index}")
        pipeline.set_adapters([f"lora_{index}" for index in range(len(loras))], list(loras.values()))
        pipeline.fuse_lora(components=[part for part in pipeline.components if part in ("unet", *_encoders(parts))])
        pipeline.unload_lora_weights()
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EditError(
            f"The LoRA '{at_fault}' cannot be applied to this model: {reason} It may be of a kind that changes other "
            "layers than attention, or made for another base."
        ) from error
    for part in ("unet", *_encoders(parts)):
        parts[part].requires_grad_(False).eval()
    return [f"{name} sha256:{_digest(files[name])} x {strength:g}" for name, strength in loras.items()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(name: str, folder: Path) -> Path:
    """The file of a LoRA."""
    known = offered_loras(folder)
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".safetensors":
        return path
    here = f" In {folder}: {', '.join(known)}." if known else ""
    raise EditError(
        f"There is no LoRA '{name}'. Give the path of a .safetensors file, as in --lora neon.safetensors=0.8; pickled "
        f"ones are never read.{here}"
    )


def _refuse_other_base(name: str, header: Header, width: int) -> None:
    """Raise `EditError` for what is no LoRA, and for one whose text attention has another width than the model's."""
    if not any(tensor.endswith(DOWN) for tensor in header.shapes):
        raise EditError(
            f"The file of the LoRA '{name}' contains no LoRA. To use a whole checkpoint, give it with --model."
        )
    text = [t for t in header.shapes if "attn2" in t and t.endswith(DOWN) and ("to_k" in t or "to_v" in t)]
    found = header.shapes[text[0]][1] if text else width
    if found != width:
        made, here = (BASES.get(n, f"a model that reads text of width {n}") for n in (found, width))
        raise EditError(
            f"The LoRA '{name}' was made for {made}, and this model is {here}. Use a LoRA that was made for this base, "
            "or a checkpoint of the base that the LoRA was made for."
        )


def _encoders(parts: Mapping[str, Any]) -> list[str]:
    return [part for part in ("text_encoder", "text_encoder_2") if part in parts]


def _pipeline(parts: dict[str, Any]) -> Any:  # noqa: ANN401 - one of two classes
    """diffusers' pipeline around the parts, for its reading of LoRA files; it is never run."""
    if "text_encoder_2" in parts:
        from diffusers import StableDiffusionXLPipeline

        return StableDiffusionXLPipeline(**parts, add_watermarker=False)
    from diffusers import StableDiffusionPipeline

    nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(**parts, **nothing)
