"""Small pieces of HTML that the server writes. Everything a visitor wrote is escaped here."""

from collections.abc import Sequence
from html import escape

from editor.media import Interval
from editor.web import texts
from editor.web.estimate import Cost
from editor.web.texts import _, heard
from editor.web.view import Json


def header() -> str:
    """The page's name and what it is for."""
    name = f'<h1><span class="mark" aria-hidden="true"></span>{texts.TITLE}</h1>'
    return f"<header>{name}<p>{escape(_(texts.TAGLINE))}</p></header>"


def heading(text: str) -> str:
    """A heading inside the advanced settings."""
    return f"<h3>{escape(text)}</h3>"


def warning(text: str) -> str:
    """One sentence to heed."""
    return f'<p class="warning">{escape(text)}</p>'


def advice(rows: Sequence[Json], warnings: Sequence[str]) -> str:
    """The sentences with their differing words marked, what that means, and what will not work."""
    parts = [
        f'<div class="edit" data-kind="{row["kind"]}"><p class="marked">{row["marked"]}</p>'
        f"<p>{escape(row['meaning'])}</p></div>"
        for row in rows
    ]
    return "".join([*parts, *map(warning, warnings)])


def recalled(complaints: Sequence[str]) -> str:
    """That the form has been filled from a file, and what of it could not be used."""
    if not complaints:
        return f'<p role="status">{escape(_(texts.RECALLED))}</p>'
    rows = "".join(f"<li>{escape(heard(complaint))}</li>" for complaint in complaints)
    return f'<div class="warning" role="status"><p>{escape(_(texts.RECALLED_PARTLY))}</p><ul>{rows}</ul></div>'


def used_frames(picture: str, interval: Interval) -> str:
    """The strip of the keyframes."""
    notes = "".join(f"<br>{escape(heard(note))}" for note in interval.notes)
    return (
        f'<div class="strip"><img src="{picture}" alt="{_("The keyframes")}" data-testid="used"></div>'
        f"<p>{_keyframes(len(interval.keyframes), interval.count)}{notes}</p>"
    )


def _keyframes(edited: int, frames: int) -> str:
    """How many frames are edited and how many follow them, as a sentence."""
    if edited == frames:
        return _("All {frames} frames are edited", frames=frames)
    more = {"edited": edited, "more": frames - edited}
    return _("{edited} keyframes are edited, {more} more frames follow the clip's motion", **more)


def estimate(cost: Cost, reused: bool) -> str:
    """What the edit will take, and how sure that is."""
    guess = "" if cost.measured else f"<small>{escape(_(texts.GUESS))}</small>"
    kept = f"<small>{escape(_(texts.REUSED))}</small>" if reused else ""
    said = _(
        "<strong>About {time}</strong> for {n} keyframes, {memory:.1f} GB of memory",
        **{"time": escape(texts.seconds(cost.seconds)), "n": cost.keyframes, "memory": cost.memory_gb},
    )
    return f'<p data-testid="estimate">{said}</p>{guess}{kept}'
