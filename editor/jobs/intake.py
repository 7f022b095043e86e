"""What this installation accepts: requests and uploads are checked before a job may wait, so whoever sent something
unusable is told at once."""

import string
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from editor.diffusion.catalog import offered_loras
from editor.events import EditError
from editor.jobs import files
from editor.media import Limits, Probe, normalise, plan_interval, probe
from editor.options import quoted
from editor.request import EditRequest
from editor.settings import Settings

LONGEST_PROMPT = 1000
"""Characters of one prompt; models read about 300."""
LONGEST_PROMPTS = 4000
"""Characters of all prompts of a request together."""
MOST_WEIGHTS = 50
"""Words of a request that may have a weight."""
SHORTEST_SECRET = 16
"""Characters of an owner's secret; `new_secret` gives 43."""
_AT_ONCE = 2
_PATIENCE = 60.0


class Intake:
    """Normalises uploads, few at a time: ffmpeg must not take the processor from the running edit."""

    def __init__(self, settings: Settings) -> None:
        self._limits = Limits.from_settings(settings)
        self._turn = threading.BoundedSemaphore(_AT_ONCE)

    def normalise(self, raw: Path, clip: Path, request: EditRequest) -> int:
        """Write `raw` as `clip`; returns how many frames `request` edits of it. Raises `EditError`.

        `raw` is read by a bounded process only and never copied.
        """
        if not self._turn.acquire(timeout=_PATIENCE):
            raise EditError("Many clips are being uploaded right now. Please try again in a minute.")
        try:
            clip.parent.mkdir(mode=0o700, exist_ok=True)
            source = normalise(raw, clip, self._limits)
        finally:
            self._turn.release()
        return _frames(source, request)

    def reuse(self, other: Path, clip: Path, request: EditRequest) -> int:
        """Take a clip that was normalised before, as a link; returns as `normalise` does. Raises `EditError`."""
        clip.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            files.share(other, clip)
        except FileNotFoundError:
            raise EditError("The clip has been deleted. Please upload it again.") from None
        return _frames(probe(clip), request)


def _frames(clip: Probe, request: EditRequest) -> int:
    """How many keyframes of the clip are edited at least. Raises `EditError` when the interval is outside it."""
    return len(plan_interval(clip, request.start, request.end, request.key_fps, request.max_frames).keyframes)


def check_owner(owner: str) -> None:
    """Raise `EditError` for a secret that is none."""
    if not isinstance(owner, str) or len(owner) < SHORTEST_SECRET:
        raise EditError(
            f"The owner's secret must be text of {SHORTEST_SECRET} characters or more, random and kept by the visitor. "
            "In a browser, reload the page to get one."
        )


def as_allowed(request: EditRequest, settings: Settings) -> EditRequest:
    """The request with at most as many keyframes as this installation allows, where it leaves their number open."""
    if request.max_frames != EditRequest.max_frames:
        return request
    return replace(request, max_frames=min(request.max_frames, settings.max_frames))


def check_request(request: EditRequest, settings: Settings) -> None:
    """Raise `EditError` when the request is unusable or beyond what this installation allows."""
    check_lengths(request.source, request.targets, request.negative_prompt)
    request.validated()
    offered = tuple(dict.fromkeys((settings.model, *settings.models)))
    if request.model not in offered:
        raise EditError(f"The model '{request.model}' is not offered here. Models: {', '.join(offered)}.")
    if request.vae:
        raise EditError("Another VAE cannot be chosen here: leave vae empty.")
    known = offered_loras(settings.loras)
    for name in request.loras:
        if name not in known:
            raise EditError(f"The LoRA '{name}' is not offered here. LoRAs: {', '.join(known) or 'none'}.")
    _check_most("target prompts", len(request.targets), settings.max_targets)
    _check_most("keyframes", request.max_frames, settings.max_frames)
    _check_most("steps", max(request.steps, request.swap_steps), settings.max_steps)
    _check_most("word weights", len(request.word_weights), MOST_WEIGHTS)
    _check_weighted_words(request)


def check_lengths(source: object, targets: Sequence[object], negative: object = "") -> None:
    """Raise `EditError` when a prompt is no text or too long. Cheap, and asked before anything looks at the words."""
    prompts = {"source": source, "negative_prompt": negative}
    prompts |= {f"target {i}": target for i, target in enumerate(targets, 1)}
    for name, text in prompts.items():
        if not isinstance(text, str):
            raise EditError(f"{name} must be text, not {type(text).__name__}.")
        if len(text) > LONGEST_PROMPT:
            raise EditError(
                f"{name} has {len(text)} characters; up to {LONGEST_PROMPT} are allowed. Please shorten it."
            )
    together = sum(map(len, prompts.values()))
    if together > LONGEST_PROMPTS:
        raise EditError(
            f"The prompts have {together} characters together; up to {LONGEST_PROMPTS} are allowed. "
            "Please shorten them or make fewer edits at once."
        )


def _check_weighted_words(request: EditRequest) -> None:
    """Raise `EditError` for a weight of a word that no target prompt has: the engine would only say so much later."""
    known = {_bare(word) for target in request.targets for word in target.split()}
    for word in request.word_weights:
        if _bare(word) not in known:
            raise EditError(
                f"word_weights names '{quoted(word)}', which no target prompt has. "
                f"Words: {quoted(', '.join(sorted(known)))}."
            )


def _bare(word: str) -> str:
    """The word as weights are looked up: without case and outer punctuation."""
    return word.strip(string.punctuation).casefold() or word


def check_disk(settings: Settings) -> None:
    """Raise `EditError` when the disk is too full for another job."""
    free = files.free_mb(settings.data)
    if free < settings.disk_floor_mb:
        raise EditError("The server's disk is nearly full, so it accepts no new edits for now. Please try again later.")


def _check_most(what: str, given: int, most: int) -> None:
    if given > most:
        raise EditError(f"{given} {what} were asked for; this server allows up to {most}. Please choose fewer.")
