"""Train the built-in model: `python -m editor.demo.train tokenizer|vae|decoder|unet|judge|lora [--minutes N]`.

Every part is saved into `--out` in Stable Diffusion's folder layout, float16 safetensors in shards below 9 MB. The
run's checkpoint, curve and sheet stay in `--work`.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from editor.demo.components import make_scheduler
from editor.demo.dataset import held_out
from editor.demo.judge import train_judge
from editor.demo.train_lora import train_lora
from editor.demo.train_tokenizer import train_tokenizer
from editor.demo.train_unet import train_unet
from editor.demo.train_vae import train_vae
from editor.demo.workers import rank, spread
from editor.settings import ROOT

SHARD = "9MB"
LORA = Path("loras/neon.safetensors")
CLASSES = {
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "scheduler": ("diffusers", "DDIMScheduler"),
}


def main(argv: list[str] | None = None) -> None:
    """Run one training and save its result."""
    options = _parser().parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    options.work.mkdir(parents=True, exist_ok=True)
    spread(train_part, options.workers if options.part in ("vae", "decoder", "unet") else 1, options)
    make_scheduler().save_pretrained(options.out / "scheduler")
    write_index(options.out)
    (options.work / "held_out.json").write_text(json.dumps(held_out(), indent=1))


def train_part(options: argparse.Namespace) -> None:
    """Train one part; the first process saves it into `options.out`."""
    out, work = options.out, options.work
    run = (options.minutes, options.resume, options.frames, options.device)
    trained: dict[str, nn.Module] = {}
    if options.part == "tokenizer":
        print(f"tokenizer: {len(train_tokenizer(out / 'tokenizer'))} tokens")
    elif options.part == "judge":
        train_judge(work / "judge", *run[:3])
    elif options.part == "lora":
        train_lora(work / "lora", out, options.minutes, options.frames, options.device, out.parent / LORA)
    elif options.part == "vae":
        trained["vae"] = train_vae(work / "vae", *run)
    elif options.part == "decoder":
        trained["vae"] = train_vae(work / "decoder", *run, frozen=_saved_vae(out))
    else:
        trained["unet"], trained["text_encoder"] = train_unet(
            work / "unet", out / "tokenizer", _saved_vae(out), *run, widen_from=options.widen_from
        )
    if rank() == 0:
        for name, module in trained.items():
            save(module, out / name)


def _saved_vae(out: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(out / "vae", use_safetensors=True, torch_dtype=torch.float32)


def save(module: nn.Module, folder: Path) -> None:
    """Write one part as float16 safetensors; files of an earlier save go first, and so does the loader's path."""
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    module.half().save_pretrained(folder, max_shard_size=SHARD, safe_serialization=True)
    module.float()
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_index(out: Path) -> None:
    """`model_index.json`, by which `StableDiffusionPipeline.from_pretrained` finds the parts."""
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", **CLASSES}
    index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m editor.demo.train", description=__doc__.split("\n\n")[0])
    parser.add_argument("part", choices=("tokenizer", "vae", "decoder", "unet", "judge", "lora"))
    parser.add_argument("--minutes", type=float, default=60, help="time budget; learning rates follow it (default 60)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --work")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "demo_model", help="model folder")
    parser.add_argument("--work", type=Path, default=ROOT / "checkpoints", help="checkpoints, curves, sheets, data")
    parser.add_argument("--frames", type=int, default=61440, help="training frames rendered in advance (default 61440)")
    parser.add_argument(
        "--widen-from", type=Path, help="unet: start from the UNet of this checkpoint folder, as wide or narrower"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that train together (on a CPU: cores)")
    return parser


if __name__ == "__main__":
    main()
