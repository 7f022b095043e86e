"""The page's look and its own components.

`static/style.css` builds on the variables that Gradio makes of the theme. The components are `gr.HTML` with a fixed
template, whose script draws the JSON value. The template never holds a value, so Gradio never re-renders it: videos
keep playing, pictures do not flicker, and text of visitors reaches the page as text only. Functions and not
subclasses: Gradio writes an interface file beside the source of every subclass when it is imported.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from editor.web import texts
from editor.web.texts import _

SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

STATIC = Path(__file__).parent / "static"


def head() -> str:
    """What goes into the page's head.

    The style sheet goes in here and not through Gradio's `css`, which repeats every rule behind a prefix of its own:
    rules in `@media` and lists in `:is()` do not survive that.
    """
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    meta = '<meta name="referrer" content="same-origin"><meta name="color-scheme" content="light dark">'
    return f"{meta}<style>{style}</style>"


def theme() -> gr.themes.Base:
    """Warm greys and one teal; system fonts, so that nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        text_size=gr.themes.sizes.text_md,
        font=SANS,
        font_mono=MONO,
    ).set(
        body_background_fill="#f7f6f4",
        body_background_fill_dark="#161514",
        body_text_color="#23211f",
        body_text_color_dark="#ece9e5",
        body_text_color_subdued="#6a645e",
        body_text_color_subdued_dark="#a59f98",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1e1d1b",
        background_fill_secondary="#f1efec",
        background_fill_secondary_dark="#262422",
        border_color_primary="#e3e0db",
        border_color_primary_dark="#35322f",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        block_title_text_color="*body_text_color",
        block_info_text_size="*text_sm",
        block_info_text_color="*body_text_color_subdued",
        block_info_text_color_dark="*body_text_color_subdued",
        input_placeholder_color="#8b857e",
        input_placeholder_color_dark="#7d7770",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1e1d1b",
        input_border_color="#d6d2cc",
        input_border_color_dark="#45413d",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_400",
        input_shadow="none",
        input_shadow_focus="0 0 0 3px color-mix(in srgb, *primary_500 25%, transparent)",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#0b1f1d",
        button_large_text_weight="600",
        button_transition="background-color 120ms ease",
        layout_gap="20px",
    )


@cache
def script(*names: str) -> str:
    """The scripts of `static/`, one after the other, in a scope of their own."""
    body = "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return f'"use strict";\n{body}'


@cache
def words(code: str) -> str:
    """What the page's head holds in one language: the words of its style sheet, and of its scripts beside English."""
    with texts.speaking(code):
        drop = _(texts.DROP).replace("\n", "\\A ")
    style = f'<style>:root {{ --rc-drop: "{drop}"; }}</style>'
    known = texts.LANGUAGES.get(code)
    if known is None:
        return style
    spoken = script(*sorted(file.stem for file in STATIC.glob("*.js")))
    used = {sentence: told for sentence, told in known["page"].items() if f'_("{sentence}"' in spoken}
    text = json.dumps(used, ensure_ascii=False).replace("<", "\\u003c")
    return f'{style}<script id="words" type="application/json">{text}</script>'


def clip_card(**options: Any) -> gr.HTML:  # noqa: ANN401 - gr.HTML's own
    """The chosen clip with its interval. Value: see `clip.js`. Events: `interval`, `replace`."""
    template = f"""
    <div class="clip-card">
      <div class="picture"><video muted playsinline preload="auto" aria-label="{_("The clip")}"></video></div>
      <div class="band" role="group" aria-label="{_("Interval to edit")}">
        <span class="shade before" aria-hidden="true"></span><span class="shade after" aria-hidden="true"></span>
        <span class="frame" aria-hidden="true"></span>
        <input type="range" class="from" min="0" max="1" step="0.1" aria-label="{_("Start of the interval")}">
        <input type="range" class="until" min="0" max="1" step="0.1" aria-label="{_("End of the interval")}">
      </div>
      <div class="head"><span class="name"></span><span class="span"></span>
        <button type="button" class="change link-button">{_("Change clip")}</button></div>
      <div class="paint-row"><button type="button" class="paint link-button" data-testid="paint"></button></div>
      <p class="where" role="status" hidden></p>
      <ul class="notes"></ul>
    </div>"""
    return _part(template, "brush", "clip", **options)


def examples(**options: Any) -> gr.HTML:  # noqa: ANN401
    """The example clips. Value: [{title}]. Event: `choose` {index}."""
    template = f'<div class="examples"><span class="or">{_("or try one of these")}</span><div class="row"></div></div>'
    return _part(template, "small", start="examples", **options)


def word_chips(**options: Any) -> gr.HTML:  # noqa: ANN401
    """Clickable words that go into the prompt fields by themselves. Value: {groups: [{name, words}]}."""
    template = f"""
    <div class="chips">
      <p>{_(texts.BUILT_IN)}</p>
      <div class="groups"></div>
      <details><summary>{_("For real footage")}</summary>
        {_("Run Recast with a Stable Diffusion checkpoint; the form stays the same.")}
        <code>EDITOR_MODELS=demo,sd15 make run</code></details>
    </div>"""
    return _part(template, "small", start="chips", **options)


def suggestion(**options: Any) -> gr.HTML:  # noqa: ANN401
    """A sentence on what the clip shows, to be taken with a click. Value: {text}."""
    return _part('<p class="suggestion" role="status" hidden></p>', "small", start="suggestion", **options)


def standing(**options: Any) -> gr.HTML:  # noqa: ANN401
    """Where the advanced numbers come from; marks those that differ. Value: see `standing.js`. Event: `back` {name}."""
    return _part('<p class="origin" data-testid="origin"></p>', "small", start="standing", **options)


def stage(**options: Any) -> gr.HTML:  # noqa: ANN401
    """A job at work, its result, or an example's finished edit. Value: {job, mine, link, view} or {example, view}.

    Events: `stop`, `again`, `moved`, `open`, each {job}; `vary` {job, step}, stronger or closer to the clip; `make`
    {index}, an example's edit is wanted anew.
    """
    template = f"""
    <section class="stage" aria-label="{_("Result")}">
      <p class="shared">{_("Someone shared this edit with you.")} <a href="./">{_("Make your own")}</a></p>
      <div class="screen" tabindex="0" role="group"
        aria-label="{_("Player: space plays, comma and full stop step by frames")}">
        <div class="empty">
          <div class="sketch" aria-hidden="true"><i></i><i></i></div>
          <p>{_("Choose a clip, say what it shows<br>and what it should show instead.")}</p>
        </div>
      </div>
      <div class="rail"></div>
      <div class="below"></div>
      <p class="live" aria-live="polite"></p>
    </section>"""
    return _part(template, "player", "below", "stage", **options)


def history(**options: Any) -> gr.HTML:  # noqa: ANN401
    """This visitor's edits. Value: [{id, ...}]. Events: `open`, `again`, `remove`, each {job}."""
    template = f"""
    <section class="history" aria-label="{_("Your edits")}">
      <h2>{_("Your edits")}</h2>
      <p class="none">{_("Nothing yet. Your edits will be listed here, in this browser.")}</p>
      <ul class="grid"></ul>
    </section>"""
    return _part(template, "small", start="history", **options)


def _part(template: str, *scripts: str, start: str = "", **options: Any) -> gr.HTML:  # noqa: ANN401
    """A component of `template`, drawn by `scripts`; `start` names the function of theirs that does it."""
    body = script("dom", *scripts) + (f"\n{start}();" if start else "")
    return gr.HTML(html_template=template, js_on_load=body, apply_default_css=False, **options)
