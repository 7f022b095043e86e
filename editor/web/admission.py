"""Whether an edit can finish here at all: asked before it may wait, from what it is expected to take."""

from collections.abc import Iterator
from dataclasses import replace

import psutil

from editor.diffusion.catalog import offered_loras
from editor.diffusion.memory import free_here
from editor.events import EditError
from editor.jobs import as_allowed, check_lengths
from editor.manifest import Recalled
from editor.options import quoted
from editor.request import EditRequest
from editor.settings import Settings
from editor.web import texts
from editor.web.estimate import Cost, Pace, side
from editor.web.texts import _

DOUBT = 3.0
"""A first guess of the time may be wrong by this factor, so only an edit beyond it is refused."""
SMALLEST_SIDE = 64


def allowed_here(found: Recalled, settings: Settings, models: tuple[str, ...]) -> Recalled:
    """Settings of an earlier edit, maybe made elsewhere, as this installation takes them; the rest is named."""
    request, said = as_allowed(found.request, settings), list(found.complaints)
    base = EditRequest.from_preset(request.preset, model=models[0])
    try:
        check_lengths(request.source, request.targets, request.negative_prompt)
    except EditError as error:
        said.append(str(error))
        request = replace(request, source="", targets=(), negative_prompt="")
    if request.model not in models:
        offered = {"model": quoted(request.model), "models": ", ".join(models)}
        said.append(_("The model “{model}” is not offered here. Models: {models}.", **offered))
        request = replace(request, model=models[0], family=base.family)
    if request.vae:
        said.append(_("Another VAE (“{vae}”) cannot be chosen here.", vae=quoted(request.vae)))
    known = offered_loras(settings.loras)
    for name in request.loras:
        if name not in known:
            said.append(_("The LoRA “{name}” is not offered here.", name=quoted(name)))
    limits = {"max_frames": settings.max_frames, "steps": settings.max_steps, "swap_steps": settings.max_steps}
    for name, most in limits.items():
        if getattr(request, name) > most:
            given = {"name": name, "given": getattr(request, name), "most": most}
            said.append(_("{name} is {given}; up to {most} are allowed here.", **given))
            request = replace(request, **{name: min(getattr(base, name), most)})
    if len(request.targets) > settings.max_targets:
        given = {"given": len(request.targets), "most": settings.max_targets}
        said.append(_("It has {given} target sentences; the first {most} are taken.", **given))
    kept = {name: strength for name, strength in request.loras.items() if name in known}
    targets = request.targets[: settings.max_targets]
    return Recalled(replace(request, vae="", loras=kept, targets=targets), tuple(said))


class Admission:
    """Refuses edits that would outlast the time limit or the memory of this machine, and says what would fit."""

    def __init__(self, pace: Pace, settings: Settings, devices: int = 1) -> None:
        self._pace = pace
        self._settings = settings
        self._devices = devices  # edits that may share this machine's memory

    def __call__(self, request: EditRequest, frames: int) -> float:
        """Seconds that `request` on `frames` frames will take. Raises `EditError` when it cannot finish here."""
        cost = self._pace.cost(request, frames)
        elsewhere = self._pace.on_gpu or self._settings.executor != "process"
        left = None if elsewhere else free_memory_gb()
        left = None if left is None else left / self._devices
        needed = self._pace.least_memory_gb(request, frames)
        if left is not None and needed > left:
            raise EditError(
                _(
                    "This edit needs about {needed:.1f} GB of memory and {left:.1f} GB are free here.",
                    needed=needed,
                    left=left,
                )
                + " "
                + self._advice(request, frames, left)
            )
        if cost.seconds > self._limit(cost):
            times = {"time": texts.seconds(cost.seconds), "limit": texts.seconds(self._settings.job_seconds)}
            said = _("This edit would take about {time}; the limit here is {limit}.", **times)
            raise EditError(f"{said} {self._advice(request, frames, left)}")
        return cost.seconds

    def _limit(self, cost: Cost) -> float:
        return self._settings.job_seconds * (1.0 if cost.measured else DOUBT)

    def _advice(self, request: EditRequest, frames: int, left: float | None) -> str:
        """The largest cheaper edit of this kind that fits."""
        for cheaper, fewer, words in _cheaper(request, frames):
            cost = self._pace.cost(cheaper, fewer)
            fits = left is None or self._pace.least_memory_gb(cheaper, fewer) <= left
            if cost.seconds <= self._limit(cost) and fits:
                return _("It would fit with {words}.", words=words)
        return _("Try fewer frames, fewer steps, a smaller size or fewer targets.")


def _cheaper(request: EditRequest, frames: int) -> Iterator[tuple[EditRequest, int, str]]:
    """Cheaper variants, each kind from the dearest on: fewer frames, a smaller size, then both."""
    sizes = range(side(request) - 64, SMALLEST_SIDE - 1, -64)
    for fewer in range(frames - 1, frames // 4, -max(1, frames // 32)):
        yield request, fewer, _("{n} frames", n=fewer)
    for size in sizes:
        yield replace(request, size=size), frames, _("a size of {size} pixels", size=size)
    for size in sizes:
        for fewer in range(frames // 2, 0, -max(2, frames // 32)):
            yield replace(request, size=size), fewer, _("a size of {size} pixels and {n} frames", size=size, n=fewer)


def free_memory_gb() -> float | None:
    """Memory that an edit could still have here: what is free, and what the worker process holds between edits.

    None where the system does not tell.
    """
    try:
        own = sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    except psutil.Error:
        return None
    free = free_here()
    return None if free is None else (free + own) / 1e9
