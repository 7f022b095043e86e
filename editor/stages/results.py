"""The files of a finished target: two videos, a poster and the manifest, moved into place when all are whole."""

import errno
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from editor.events import EditError, EditResult
from editor.media import side_by_side, write_poster, write_video
from editor.stages.footage import Footage

FILES = {
    "edited": "edited.mp4",
    "side_by_side": "side_by_side.mp4",
    "poster": "poster.webp",
    "manifest": "manifest.json",
}
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "moviepy", "xformers")
HEADLINES = (
    "unet_evaluations_per_frame",
    "vae_psnr",
    "reconstruction_psnr",
    "seconds",
    "frames",
    "inversion_cached",
)


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """A scratch folder inside `out`, so that finished files can be moved; gone afterwards, whatever happens.

    A full disk becomes an `EditError`, and so does a folder that cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=out) as scratch:
            yield Path(scratch)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EditError(
                f"The disk with '{out}' is full. Free some space or choose another --out folder."
            ) from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise EditError(
                f"Results cannot be written to '{out}': {error.strerror}. Choose another folder."
            ) from error
        raise


def write_result(
    folder: Path, scratch: Path, footage: Footage, frames: np.ndarray, target: str, manifest: dict[str, Any]
) -> EditResult:
    """Write the files of one target into `folder`. `frames` uint8 (F, H, W, 3) have the clip's own size.

    Everything is written and checked in `scratch` first, and the manifest is moved last: where it is, all is whole.
    """
    clip = footage.clip
    write_video(frames, clip.fps, scratch / FILES["edited"], footage.audio)
    write_video(side_by_side(clip.frames, frames), clip.fps, scratch / FILES["side_by_side"], footage.audio)
    write_poster(frames, scratch / FILES["poster"])
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (scratch / FILES["manifest"]).write_text(text + "\n", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        os.replace(scratch / name, folder / name)
    summary = {key: manifest[key] for key in HEADLINES}
    return EditResult(target=target, **{key: folder / name for key, name in FILES.items()}, summary=summary)


def read_manifest(result: EditResult) -> dict[str, Any]:
    """The manifest of a finished target."""
    return json.loads(result.manifest.read_text(encoding="utf-8"))


def library_versions() -> dict[str, str | None]:
    """Versions of what computes the result; None for what is not installed. Imports nothing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
