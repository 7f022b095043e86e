"""The real engine of a job: `editor.pipeline.edit` with models that stay loaded from one job to the next.

Torch is imported inside the functions, so it loads only in the process that computes.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from editor.console import quiet_libraries
from editor.events import EditResult, Emit, Progress, Stage, Tick, ignore
from editor.jobs.files import CLIP
from editor.request import EditRequest
from editor.settings import Settings

if TYPE_CHECKING:
    from editor.diffusion.models import Models

log = logging.getLogger(__name__)

_warm: dict[str, "Models"] = {}
"""The model of the last job, by all that was loaded for it: one, because two may not fit the device together."""


def run(job_dir: Path, request: EditRequest, settings: Settings, emit: Emit) -> tuple[EditResult, ...]:
    """Edit `job_dir/clip.mp4` as `request` says. Writes results inside `job_dir`. Raises `EditError`, `Cancelled`."""
    quiet_libraries()  # before anything imports them
    from editor.pipeline import edit
    from editor.stages.cache import InversionCache
    from editor.stages.quality import load_score

    models = _load(request, settings, emit)
    cache = InversionCache(settings.data / "inversions", settings.cache_mb * 10**6)
    score = load_score(settings.clip)
    with stoppable(emit):
        return edit(job_dir / CLIP, request, models, job_dir / "result", emit, cache, normalised=True, score=score)


def warm(settings: Settings) -> None:
    """Load what an edit with the installation's own model needs. Raises `EditError`."""
    quiet_libraries()
    import editor.pipeline  # noqa: F401 - all that an edit imports

    _load(EditRequest(model=settings.model), settings, ignore)


@contextmanager
def stoppable(emit: Emit) -> Iterator[None]:
    """Let every layer of every network that runs inside emit a `Tick` before it computes.

    A step of many frames takes minutes on a CPU, and so does the autoencoder; a layer of them takes a moment.
    """
    from torch.nn.modules.module import register_module_forward_pre_hook

    tick = Tick()
    handle = register_module_forward_pre_hook(lambda layer, inputs: emit(tick))
    try:
        yield
    finally:
        handle.remove()


def _load(request: EditRequest, settings: Settings, emit: Emit) -> "Models":
    """The request's model, warm or else loaded, after the one before it was let go."""
    from editor.diffusion.models import load_models

    key = json.dumps([request.model, request.vae, dict(request.loras)])
    if key not in _warm:
        _warm.clear()
        emit(Progress(Stage.PREPARE, 0, 1, message=f"Loading the model '{request.model}'."))
        models = _warm[key] = load_models(request.model, settings, vae=request.vae, loras=request.loras)
        log.info(
            "model %s on %s (%s), %s, attention by %s",
            *(models.name, models.device.type, models.device_reason),
            *(str(models.dtype).removeprefix("torch."), models.kernel.name),
        )
    return _warm[key]
