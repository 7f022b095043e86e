"""Checkpoints of Stable Diffusion's true layouts at small widths, as folders and as the single files people share.

The names in single files are those of the original code; diffusers translates them into its own, and here is the way
back, so that loading a file can be compared with the folder it was made from.
"""

import re
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from editor.diffusion.layouts import LAYOUTS, Layout
from editor.machine import shapes

TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT_2 = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}


def small(kind: str) -> Layout:
    """The layout `kind` with every width and count cut down, and nothing else."""
    true = LAYOUTS[kind]
    widths = (16, 32, 32, 32)[: len(true.unet["block_out_channels"])]
    heads = 2 if isinstance(true.unet["attention_head_dim"], int) else (2, 4, 4, 4)[: len(widths)]
    text_2 = None if true.text_2 is None else {**true.text_2, **TEXT_2, "projection_dim": 32}
    width = TEXT["hidden_size"] + (TEXT_2["hidden_size"] if text_2 else 0)
    unet = {**true.unet, "block_out_channels": widths, "attention_head_dim": heads, "norm_num_groups": 8}
    unet |= {"cross_attention_dim": width, "sample_size": 8}
    if text_2:
        unet |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 32}
    vae = {**true.vae, "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "sample_size": 64}
    return replace(true, unet=unet, vae=vae, text={**true.text, **TEXT, "projection_dim": 16}, text_2=text_2)


def save_folder(kind: str, folder: Path) -> Path:
    """A checkpoint folder of random weights. Call it where `shapes.layout` gives the `small` ones."""
    return shapes.save_random(kind, folder)


def save_single_file(kind: str, folder: Path, path: Path, **options: object) -> Path:
    """The checkpoint `folder` as one file in the original names."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    state = {f"model.diffusion_model.{name}": value for name, value in original_unet(unet).items()}
    state |= {f"first_stage_model.{name}": value for name, value in original_vae(vae).items()}
    text = text_state(CLIPTextModel.from_pretrained(folder / "text_encoder"))
    if kind == "sd21":
        state |= {f"cond_stage_model.model.{name}": value for name, value in open_clip(text).items()}
    else:
        prefix = "conditioner.embedders.0.transformer." if kind == "sdxl" else "cond_stage_model.transformer."
        state |= {prefix + name: value for name, value in text.items()}
    if kind == "sdxl":
        second = text_state(CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"))
        state |= {f"conditioner.embedders.1.model.{name}": value for name, value in open_clip(second).items()}
    save_file({name: value.contiguous().clone() for name, value in state.items()}, path, **options)
    return path


def text_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A text encoder's weights under the names of published checkpoints."""
    state = {n: v for n, v in model.state_dict().items() if not n.endswith("position_ids")}
    return {n if n.startswith("text_") else f"text_model.{n}": v for n, v in state.items()}


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
WHOLE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_unet(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    """A UNet's weights in the original names, for two layers per block."""
    up_with_text = ["CrossAttn" in kind for kind in unet.config.up_block_types]
    return {_unet_name(name, up_with_text): value for name, value in unet.state_dict().items()}


def _unet_name(name: str, up_with_text: list[bool]) -> str:
    for ours, theirs in WHOLE.items():
        if name.startswith(ours + "."):
            return theirs + name.removeprefix(ours)
    block = re.match(r"(down|up|mid)_blocks?\.(?:(\d+)\.)?(\w+)\.(\d+)\.(.*)", name)
    side, number, part, index, rest = block[1], int(block[2] or 0), block[3], int(block[4]), block[5]
    if part == "resnets":
        rest = re.sub(r"^\w+", lambda found: RESNET[found[0]], rest)
    if side == "mid":
        return f"middle_block.{1 if part == 'attentions' else 2 * index}.{rest}"
    if part == "downsamplers":
        return f"input_blocks.{3 * (number + 1)}.0.op.{rest.removeprefix('conv.')}"
    if part == "upsamplers":
        return f"output_blocks.{3 * number + 2}.{2 if up_with_text[number] else 1}.{rest}"
    place = 3 * number + index
    inside = 1 if part == "attentions" else 0
    return f"input_blocks.{place + 1}.{inside}.{rest}" if side == "down" else f"output_blocks.{place}.{inside}.{rest}"


def original_vae(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """A VAE's weights in the original names."""
    found = {}
    last = len(vae.config.block_out_channels) - 1
    for name, value in vae.state_dict().items():
        name = re.sub(r"decoder\.up_blocks\.(\d+)", lambda m: f"decoder.up.{last - int(m[1])}", name)
        name = re.sub(r"encoder\.down_blocks\.(\d+)", r"encoder.down.\1", name)
        name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        for ours, theirs in (
            ("mid_block.attentions.0.", "mid.attn_1."),
            ("group_norm", "norm"),
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "proj_out"),
            ("resnets", "block"),
            ("downsamplers.0", "downsample"),
            ("upsamplers.0", "upsample"),
            ("conv_shortcut", "nin_shortcut"),
            ("conv_norm_out", "norm_out"),
        ):
            name = name.replace(ours, theirs)
        if "attn_1" in name and value.ndim == 2:
            value = value[:, :, None, None]
        found[name] = value
    return found


def open_clip(text: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text encoder's weights in OpenCLIP's names: queries, keys and values in one matrix."""
    found, parts = {}, {}
    for name, value in text.items():
        name = name.removeprefix("text_model.")
        name = name.replace("encoder.layers.", "transformer.resblocks.").replace("layer_norm", "ln_")
        name = name.replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj").replace("self_attn", "attn")
        name = name.replace("embeddings.token_embedding", "token_embedding").replace("final_ln_", "ln_final")
        if name == "embeddings.position_embedding.weight":
            name = "positional_embedding"
        if name == "text_projection.weight":
            name, value = "text_projection", value.T
        split = re.match(r"(.*attn)\.(q|k|v)_proj\.(weight|bias)", name)
        if split:
            parts.setdefault(f"{split[1]}.in_proj_{split[3]}", {})[split[2]] = value
        else:
            found[name] = value
    return found | {name: torch.cat([rows["q"], rows["k"], rows["v"]]) for name, rows in parts.items()}
