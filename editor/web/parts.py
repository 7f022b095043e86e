"""The page's own components: `gr.HTML` with a fixed template, whose script draws the JSON value.

The template never holds a value, so Gradio never re-renders it: videos keep playing, pictures do not flicker, and text
of visitors reaches the page as text only. Functions and not subclasses: Gradio writes an interface file beside the
source of every subclass when it is imported.
"""

from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"


@cache
def script(*names: str) -> str:
    """The scripts of `static/`, one after the other, in a scope of their own."""
    body = "\n".join((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return f'"use strict";\n{body}'


def clip_card(**options: Any) -> gr.HTML:  # noqa: ANN401 - gr.HTML's own
    """The chosen clip with its interval. Value: see `clip.js`. Events: `interval` {start, end}, `replace`."""
    template = """
    <div class="clip-card">
      <div class="picture"><video muted playsinline preload="auto" aria-label="The clip"></video></div>
      <div class="band" role="group" aria-label="Interval to edit">
        <span class="shade before" aria-hidden="true"></span><span class="shade after" aria-hidden="true"></span>
        <span class="frame" aria-hidden="true"></span>
        <input type="range" class="from" min="0" max="1" step="0.1" aria-label="Start of the interval">
        <input type="range" class="until" min="0" max="1" step="0.1" aria-label="End of the interval">
      </div>
      <div class="head"><span class="name"></span><span class="span"></span>
        <button type="button" class="change link-button">Change clip</button></div>
      <ul class="notes"></ul>
    </div>"""
    return _part(template, "clip", **options)


def examples(**options: Any) -> gr.HTML:  # noqa: ANN401
    """The example clips. Value: [{title}]. Event: `choose` {index}."""
    template = '<div class="examples"><span class="or">or take one of these</span><div class="row"></div></div>'
    return _part(template, "examples", **options)


def word_chips(**options: Any) -> gr.HTML:  # noqa: ANN401
    """Clickable words that go into the prompt fields by themselves. Value: {groups: [{name, words}]}."""
    template = """
    <div class="chips">
      <p>This is the <strong>built-in model</strong>. It knows one small drawn world, in these words:</p>
      <div class="groups"></div>
      <details><summary>For photographs and film</summary>
        Run Recast with a Stable Diffusion checkpoint; the form stays the same.
        <code>EDITOR_MODELS=demo,sd15 make run</code></details>
    </div>"""
    return _part(template, "chips", **options)


def stage(**options: Any) -> gr.HTML:  # noqa: ANN401
    """A job at work, or its result. Value: {job, mine, link, view}. Events: `stop`, `again`, `moved`, each {job}."""
    template = """
    <section class="stage" aria-label="Result">
      <p class="shared">Someone shared this edit with you. <a href="./">Make your own</a></p>
      <div class="screen">
        <div class="empty">
          <div class="sketch" aria-hidden="true"><i></i><i></i></div>
          <p>Choose a clip, say what it shows<br>and what it should show instead.</p>
        </div>
      </div>
      <div class="rail"></div>
      <div class="below"></div>
      <p class="live" aria-live="polite"></p>
    </section>"""
    return _part(template, "player", "below", "stage", **options)


def history(**options: Any) -> gr.HTML:  # noqa: ANN401
    """This visitor's edits. Value: [{id, ...}]. Events: `open`, `again`, `remove`, each {job}."""
    template = """
    <section class="history" aria-label="Your edits">
      <h2>Your edits</h2>
      <p class="none">Nothing yet. Edits you make are listed here, in this browser.</p>
      <ul class="grid"></ul>
    </section>"""
    return _part(template, "history", **options)


def _part(template: str, *scripts: str, **options: Any) -> gr.HTML:  # noqa: ANN401
    return gr.HTML(html_template=template, js_on_load=script("dom", *scripts), apply_default_css=False, **options)
