"""The page's colours and shapes; `static/style.css` builds on the variables that Gradio makes of them."""

from pathlib import Path

import gradio as gr

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
