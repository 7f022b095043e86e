"""Recast: edit a short clip with a sentence, with off-the-shelf image diffusion models (arXiv 2303.17599).

    from editor import EditRequest, edit, load_models

Names are resolved on first use, so that importing a torch-free room does not import torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {"EditRequest": "editor.request", "edit": "editor.pipeline", "load_models": "editor.diffusion.models"}
__all__ = ["EditRequest", "edit", "load_models"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'editor' has no attribute '{name}'")
