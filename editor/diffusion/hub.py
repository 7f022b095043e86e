"""Checkpoints of the Hugging Face Hub: which of their files are fetched, and the sentences when that does not work.

Only JSON, vocabulary and safetensors files are ever fetched, at one commit, which is recorded.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from editor.events import EditError

TIMEOUT = 5.0
"""Seconds for the one request that asks whether the Hub is there; its client alone would retry for half a minute."""

HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?")
PINNED = re.compile(r"[0-9a-f]{40}")

WEIGHTS = {
    "text_encoder": "model",
    "text_encoder_2": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "safety_checker": "model",
}
"""Part -> the name that its weights have, without their ending."""

HALF = "fp16"
"""The variant of the weights in half precision."""


def hub_id(name: str) -> tuple[str, str] | None:
    """`org/name` or `org/name@revision` as (repository, revision), or None for what is no id of the Hub."""
    found = HUB_ID.fullmatch(name)
    return (found["repo"], found["revision"] or "main") if found else None


def fetch(name: str, repo: str, revision: str, half: bool, *, complete: bool = True) -> tuple[Path, str]:
    """The folder of `repo` at `revision` and its commit; with `half` of the UNet's weights those in half precision.

    What was fetched before is used as it is when the commit is the same, or when the Hub cannot be reached. With
    `complete` False only a VAE is wanted. Raises `EditError`, naming the model by `name`.
    """
    here = fetched_before(repo, revision)
    if here is not None and PINNED.fullmatch(revision) and has_weights(here, complete):
        return here, here.name
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)  # one try: fail within seconds
        wanted = choose_files(name, [file.rfilename for file in info.siblings or ()], half)
        return Path(snapshot_download(repo, revision=info.sha, allow_patterns=wanted, etag_timeout=TIMEOUT)), info.sha
    except EditError:
        raise
    except GatedRepoError as error:
        why = f"its owner wants an agreement accepted: do so at https://huggingface.co/{repo}, then run `hf auth login`"
        raise EditError(f"The model '{name}' could not be fetched: {why}.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise EditError(
            f"There is no model '{name}' on the Hugging Face Hub, or it is private. Check its spelling and revision "
            f"({revision}) at https://huggingface.co/{repo}; for a private one run `hf auth login` first."
        ) from error
    except HfHubHTTPError as error:
        why = f"the Hub answered {error.response.status_code}"
    except Exception as error:  # offline, proxy, time-out, full disk: the client's HTTP library has no stable base
        reason = (str(error).splitlines() or ["no reason given"])[0]
        why = f"{type(error).__name__}: {reason}"
    if here is not None and has_weights(here, complete):
        return here, here.name
    raise EditError(_unreachable(name, repo, revision, why))


def fetched_before(repo: str, revision: str) -> Path | None:
    """The folder of a repository that was fetched before, complete or not; asks no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def choose_files(name: str, files: Iterable[str], half: bool) -> list[str]:
    """Which `files` of a repository are fetched: configurations, vocabularies, and each part's weights once.

    Full weights are preferred, for the UNet those in half precision where `half` is enough. Raises `EditError` for a
    part without safetensors weights.
    """
    known = set(files)
    wanted = [f for f in known if f.count("/") <= 1 and f.endswith((".json", "merges.txt")) and "index" not in f]
    for part, stem in WEIGHTS.items():
        variants = ("", f".{HALF}")
        for variant in reversed(variants) if half and part == "unet" else variants:
            found = [f for f in known if _is_weight(f, part, stem, variant)]
            if found:
                wanted += found
                break
        else:
            if any(f.startswith(f"{part}/") for f in known) and part != "safety_checker":
                raise EditError(
                    f"The model '{name}' has no safetensors weights for its {part}. Pickled weights are never read: "
                    "choose a revision or a fork that has them."
                )
    return sorted({*wanted, *({"model_index.json"} & known)})


def variant_of(folder: Path, part: str) -> str | None:
    """Which weights of `part` a folder has: "" the full ones, "fp16" those in half precision alone, None for none."""
    for variant in ("", HALF):
        dotted = f".{variant}" if variant else ""
        if any(_is_weight(f"{part}/{p.name}", part, WEIGHTS[part], dotted) for p in (folder / part).glob("*")):
            return variant
    return None


def has_weights(folder: Path, complete: bool) -> bool:
    """Whether a folder has the weights of the parts that every checkpoint needs, or at least a VAE's."""
    return all(
        variant_of(folder, part) is not None for part in (("text_encoder", "unet", "vae") if complete else ("vae",))
    )


def _is_weight(file: str, part: str, stem: str, variant: str) -> bool:
    """Whether `file` is `part`'s weights in this variant: one file, or a shard, or the index of shards."""
    one = rf"{part}/{stem}{re.escape(variant)}\.safetensors"
    shard = rf"{part}/{stem}({re.escape(variant)}-\d+-of-\d+|-\d+-of-\d+{re.escape(variant)})\.safetensors"
    index = rf"{part}/{stem}\.safetensors\.index{re.escape(variant)}\.json"
    return bool(re.fullmatch(f"{one}|{shard}|{index}", file))


def _unreachable(name: str, repo: str, revision: str, why: str) -> str:
    return (
        f"The model '{name}' ({repo}) is not on this machine and could not be fetched: {why}. Either download "
        f"it where there is a network (`hf auth login` if it asks, then `hf download {repo} --revision {revision}`), "
        "or use the built-in model with --model demo."
    )
