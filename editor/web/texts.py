"""Sentences of the page, and the language in which a visitor reads them.

Sentences are written in English where they are used, or here, and told through `_`. A file `languages/<code>.json` has
another language: `page`, English sentence -> translated, with the same fields; `rooms`, the same for sentences that
arrive finished from rooms that know no language, told through `heard`; and `numbers`, what its numbers have in place
of "." and "%".
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

from editor.events import Stage
from editor.jobs import JobState
from editor.jobs.devices import SINGLE
from editor.request import PRESETS as ALL_PRESETS

ENGLISH = "en"
_FILES = sorted((Path(__file__).parent / "languages").glob("*.json"))
LANGUAGES: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in _FILES}
language = ContextVar("language", default=ENGLISH)
"""Of the visitor who is being answered. The guard sets it for every request, `Told` for every event."""


def preferred(header: str | None) -> str:
    """The language of the page for an `Accept-Language` header (RFC 9110, 12.5.4): the known one that it likes best."""
    best, weight = ENGLISH, 0.0
    for part in (header or "").split(","):
        found = re.fullmatch(r"\s*([a-z]{2,3})(?:-[a-z0-9-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", part, re.I)
        if found and (code := found[1].lower()) in (ENGLISH, *LANGUAGES) and (liked := float(found[2] or 1)) > weight:
            best, weight = code, liked
    return best


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Within the block sentences are told in this language."""
    before = language.set(code)
    try:
        yield
    finally:
        language.reset(before)


class _Numbers(Formatter):
    """Formats with the signs in numbers of the visitor's language."""

    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401 - a field of any kind
        text = super().format_field(value, format_spec)
        return text.translate(str.maketrans(_spoken("numbers") or {})) if isinstance(value, float) else text


def _spoken(part: str) -> Any:  # noqa: ANN401 - what the file holds
    return LANGUAGES.get(language.get(), {}).get(part)


def _(sentence: str, **values: Any) -> str:  # noqa: ANN401 - fields of any kind
    """A sentence of the page in the visitor's language, its fields filled with `values`."""
    told = (_spoken("page") or {}).get(sentence, sentence)
    return _Numbers().vformat(told, (), values) if values else told


LONGEST_HEARD = 600
"""Characters of a sentence that is compared with patterns; longer ones hold much of what somebody wrote."""


def heard(sentence: str) -> str:
    """A finished sentence of another room in the visitor's language, or in English where the catalogue has none.

    Fields whose name begins with `said` are told likewise, `n` and `n1`, `n2`, ... are whole numbers; others, such as
    words of a visitor, stay.
    """
    patterns = _patterns(language.get())
    if not patterns or len(sentence) > LONGEST_HEARD:
        return sentence
    for pattern, told in patterns:
        if found := pattern.fullmatch(sentence):
            fields = found.groupdict().items()
            return told.format(**{k: heard(value) if k.startswith("said") else value for k, value in fields})
    parts = re.split(r"((?<=\.) |; )", sentence)
    if len(parts) > 1:
        return "".join(part if n % 2 else heard(part) for n, part in enumerate(parts))
    bare = sentence.rstrip(".")
    return sentence if bare == sentence else heard(bare) + sentence[len(bare) :]


@cache
def _patterns(code: str) -> list[tuple[re.Pattern[str], str]]:
    def field(found: re.Match[str]) -> str:
        number = re.fullmatch(r"n\d*", found[1])  # a pattern of many free fields takes long to fail
        return f"(?P<{found[1]}>{'[0-9]+' if number else '.+?'})"

    rooms = LANGUAGES.get(code, {}).get("rooms", {}).items()
    return [(re.compile(re.sub(r"\\{(\w+)\\}", field, re.escape(english))), told) for english, told in rooms]


TITLE = "Recast"
PAGE_TITLE = "Recast: change a short clip with a sentence"
TAGLINE = "Change a short clip with a sentence."

CLIP = "Clip"
DROP = "Drop a clip here, or choose a file\nmp4, mov, webm, avi or gif"
SOURCE = "What the clip shows"
SOURCE_HINT = "a red car driving on the road"
TARGETS = "What it should show instead"
TARGETS_HINT = "a blue car driving on the road"
TARGETS_INFO = "One sentence per line; each becomes a result of its own."
RUN = "Make the edit"
RUN_SEVERAL = "Make {n} edits"
ADVANCED = "Advanced"

PRESET = "Quality"
PRESETS = {"fast": "Quick look", "balanced": "Balanced", "paper": "As in the paper"}
"""Presets from the cheapest to the most expensive; one that is not named here follows under its own name."""

STRENGTH = "Strength"
STRENGTHS = {"gentle": "Gentle", "normal": "Normal", "strong": "Strong"}

LORAS = "LoRAs"
LORA_SCALE = "Strength of the LoRAs"

STAGES = {
    Stage.PREPARE: "Reading the clip",
    Stage.ENCODE: "Encoding the frames",
    Stage.INVERT: "Inverting the clip",
    Stage.NULL_TEXT: "Fitting the empty prompt to the clip",
    Stage.EDIT: "Editing",
    Stage.DECODE: "Decoding the frames",
    Stage.WRITE: "Writing the videos",
}

STATES = {
    JobState.QUEUED: "Waiting",
    JobState.RUNNING: "Working",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Stopped",
}

SETTINGS_FILE = "Use the settings of an earlier edit"
NO_SETTINGS = "Choose the manifest.json, the edited.mp4 or the GIF of an earlier edit."
RECALLED = "The form has the settings of that edit."
RECALLED_PARTLY = "The form has the settings of that edit, but for these:"
CARD_PAGE = "Say in one sentence what a short video should show instead, and compare the edit with the original."
CARD_DONE = "It was “{source}”. A video edited by a model; open it to compare it with the original."
CARD_RUNNING = "It was “{source}”. The edit is still at work; open it to watch."
CARD_OTHER = "It was “{source}”. This edit has no result."
MADE_EARLIER = "Made earlier, on {day.day} {day:%B %Y}, by the built-in model with the {preset} preset."
QUALITY = {
    "kept_psnr": (
        "What should stay",
        "{value:.0f} dB",
        ((28, "visibly changed"), (35, "slightly changed"), (45, "hard to tell from the clip"), (99, "untouched")),
        "How near the part outside the edit is to the clip; from 35 dB on a difference is hard to see.",
    ),
    "flicker": (
        "Flicker",
        "{value:.2f} times the clip's",
        ((0.9, "calmer than the clip"), (1.15, "as calm as the clip"), (1.6, "a little restless"), (1e15, "flickers")),
        "How much neighbouring frames jump, beside the same of the clip.",
    ),
    "sharpness": (
        "Sharpness",
        "{value:.2f} times the clip's",
        ((0.6, "softer"), (0.85, "a little softer"), (1.2, "as sharp as the clip"), (1e15, "more edges than the clip")),
        "How strong edges are, beside the clip's; a new thing or place has edges of its own.",
    ),
    "unfollowed": (
        "Motion",
        "{value:.1%} lost",
        ((0.02, "followed"), (0.1, "mostly followed"), (1, "hard to follow")),
        "The share of the picture between keyframes where the clip's motion could not be followed.",
    ),
    "text_match": (
        "Text match",
        "{value:.2f} times the clip's",
        (
            (0.8, "hard to find"),
            (0.93, "weaker than in the clip"),
            (1.05, "as clear as in the clip"),
            (1e15, "clearer"),
        ),
        "How well CLIP finds the sentence in the result, beside the clip and the sentence for what it shows.",
    ),
}
"""Number of a result -> its name, how it is written, words for it up to a bound, and what it means."""

NUMBERS = {
    "vae_psnr": (
        "Autoencoder",
        "dB",
        "How well the clip survives the model's autoencoder; above 30 dB the loss is hard to see.",
    ),
    "reconstruction_psnr": ("Reconstruction", "dB", "How well the clip comes back when nothing is edited."),
    "unet_evaluations_per_frame": (
        "Work",
        "passes per frame",
        "Passes of one frame through the network, per frame of the result.",
    ),
    "seconds": ("Time", "s", "From start to finish."),
    "frames": ("Frames", "", "Frames of the result."),
    "keyframes": ("Keyframes", "", "Edited frames; the others follow the clip's motion."),
}
"""Headline numbers of a result: summary key -> (label, unit, what it means)."""

BUILT_IN = "This is the <strong>built-in model</strong>. It knows one small drawn world, in these words only:"
GONE = "This edit is no longer kept. Results are deleted after a while; whoever made this edit can run it again."
TAKEN = (
    "The first {end:.3g} s of {seconds:.3g} s are chosen, as much as takes about two minutes here. Draw the interval "
    "longer for more."
)
NO_CLIP = "Choose a clip first: upload one or pick an example."
NO_SOURCE = "Say what the clip shows, for example: a red car on the road."
NO_TARGET = "Say what it should show instead, for example: a blue car on the road."
TOO_MANY_TARGETS = "{given} sentences at once is too many; the limit is {allowed}. Please remove some."
CLIP_LEFT = "The clip is no longer here. Please upload it again."
DIDNT = "That didn't work"
FAILED = "Something went wrong on the server. Please try again; if it happens again, tell whoever runs this page."
GUESS = "A rough guess: nothing has been timed on this machine yet."
REUSED = "Same clip, same description: the earlier inversion is reused, so the edit starts right away."


def seconds(value: float) -> str:
    """A time span as a person would put it."""
    if value < 1.5:
        return _("a second")
    if value < 90:
        whole = value if value < 20 else 5 * round(value / 5)  # an estimate is not a stopwatch
        return _("{value:.0f} s", value=round(whole))
    if value < 5400:
        return _("{value:.0f} min", value=value / 60)
    return _("{value:.1f} h", value=value / 3600)


def queued(position: int, wait: float | None, devices: int) -> str:
    """The place in the queue, 1 = next, and when it is up (seconds)."""
    if devices < 1:
        return _("Waiting for a computer to do the work; your place is kept")
    place = _("Next in line") if position <= 1 else _("{n} ahead of you", n=position - 1)
    return _("{place}, starts in about {time}", place=place, time=seconds(wait)) if wait else place


def device(name: str, count: int) -> str:
    """The device that computes an edit, and how many there are."""
    name = _("this server") if name == SINGLE else name
    return _("{name}, the only one", name=name) if count <= 1 else _("{name}, one of {n}", name=name, n=count)


def preset_title(name: str) -> str:
    """A preset in words a person understands."""
    return _(PRESETS.get(name, name.replace("_", " ").capitalize()))


def preset_choices(costs: Mapping[str, float]) -> list[tuple[str, str]]:
    """The form's presets as (text, name), with the seconds that each takes where they are known."""
    names = [name for name in PRESETS if name in ALL_PRESETS] + [name for name in ALL_PRESETS if name not in PRESETS]
    return [(preset_title(name) + (f"\n{seconds(costs[name])}" if name in costs else ""), name) for name in names]
