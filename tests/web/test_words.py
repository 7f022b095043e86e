"""The sentences as the page shows them."""

import pytest

from editor.reading import read_edit
from editor.web.words import beyond_budget, marked

RED = "a red car on the road"


@pytest.mark.parametrize(
    ("target", "html"),
    [
        (RED, RED),
        ("A red  car, on the road.", "A red car, on the road."),
        ("a blue car on the road", "a <del>red</del> <ins>blue</ins> car on the road"),
        ("a blue bus on the road", "a <del>red</del> <ins>blue</ins> <del>car</del> <ins>bus</ins> on the road"),
        ("a shiny red car on the road", "a <ins>shiny</ins> red car on the road"),
        (f"{RED} at sunset", f"{RED} <ins>at sunset</ins>"),
        ("a car on the road", "a <del>red</del> car on the road"),
        ("bus", f"<del>{RED}</del> <ins>bus</ins>"),
    ],
)
def test_words_that_differ_are_marked(target, html):
    assert marked(read_edit(RED, target)) == html


@pytest.mark.parametrize("target", ["a <b>blue</b> car", "<script>alert(1)</script>", 'a "blue" & car'])
def test_nothing_a_visitor_writes_becomes_markup(target):
    html = marked(read_edit(RED, target))
    for tag in ("<del>", "</del>", "<ins>", "</ins>"):
        html = html.replace(tag, "")
    assert "<" not in html


def test_words_beyond_the_models_reach_are_named():
    assert beyond_budget(RED) == ""
    assert beyond_budget(" ".join(["word"] * 80)) == " ".join(["word"] * 5)
    assert beyond_budget("") == ""
