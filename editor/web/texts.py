"""Every sentence of the page that is not written by another room."""

from collections.abc import Mapping

from editor.events import Stage
from editor.jobs import JobState
from editor.jobs.devices import SINGLE
from editor.request import PRESETS as ALL_PRESETS

TITLE = "Recast"
TAGLINE = "Change a short clip with a sentence."

CLIP = "Clip"
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
MADE_EARLIER = "Made earlier, on {day}, by the built-in model with the {preset} preset."
QUALITY = {
    "kept_psnr": (
        "What should stay",
        "{:.0f} dB",
        ((28, "visibly changed"), (35, "slightly changed"), (45, "hard to tell from the clip"), (99, "untouched")),
        "How near the part outside the edit is to the clip; from 35 dB on a difference is hard to see.",
    ),
    "flicker": (
        "Flicker",
        "{:.2f} times the clip's",
        ((0.9, "calmer than the clip"), (1.15, "as calm as the clip"), (1.6, "a little restless"), (1e15, "flickers")),
        "How much neighbouring frames jump, beside the same of the clip.",
    ),
    "sharpness": (
        "Sharpness",
        "{:.2f} times the clip's",
        ((0.6, "softer"), (0.85, "a little softer"), (1.2, "as sharp as the clip"), (1e15, "more edges than the clip")),
        "How strong edges are, beside the clip's; a new thing or place has edges of its own.",
    ),
    "unfollowed": (
        "Motion",
        "{:.1%} lost",
        ((0.02, "followed"), (0.1, "mostly followed"), (1, "hard to follow")),
        "The share of the picture between keyframes where the clip's motion could not be followed.",
    ),
    "text_match": (
        "Text match",
        "{:.2f} times the clip's",
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
FAILED = "Something went wrong on the server. Please try again; if it happens again, tell whoever runs this page."
REUSED = "Same clip, same description: the earlier inversion is reused, so the edit starts right away."


def seconds(value: float) -> str:
    """A time span as a person would put it."""
    if value < 1.5:
        return "a second"
    if value < 90:
        return f"{_rounded(value):.0f} s"
    if value < 5400:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def _rounded(value: float) -> float:
    """Whole seconds, and fives from twenty on: an estimate is not a stopwatch."""
    return round(value) if value < 20 else 5 * round(value / 5)


def keyframes(edited: int, frames: int) -> str:
    """How many frames are edited and how many follow them, as a sentence."""
    if edited == frames:
        return f"All {frames} frames are edited"
    return f"{edited} keyframes are edited, {frames - edited} more frames follow the clip's motion"


def queued(position: int, wait: float | None, devices: int) -> str:
    """The place in the queue, 1 = next, and when it is up (seconds)."""
    if devices < 1:
        return "Waiting for a computer to do the work; your place is kept"
    place = "Next in line" if position <= 1 else f"{position - 1} ahead of you"
    return f"{place}, starts in about {seconds(wait)}" if wait else place


def device(name: str, count: int) -> str:
    """The device that computes an edit, and how many there are."""
    name = "this server" if name == SINGLE else name
    return f"{name}, the only one" if count <= 1 else f"{name}, one of {count}"


def preset_title(name: str) -> str:
    """A preset in words a person understands."""
    return PRESETS.get(name, name.replace("_", " ").capitalize())


def preset_choices(costs: Mapping[str, float]) -> list[tuple[str, str]]:
    """The form's presets as (text, name), with the seconds that each takes where they are known."""
    names = [name for name in PRESETS if name in ALL_PRESETS] + [name for name in ALL_PRESETS if name not in PRESETS]
    return [(preset_title(name) + (f"\n{seconds(costs[name])}" if name in costs else ""), name) for name in names]
