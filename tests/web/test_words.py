"""Which words differ, and what that means."""

import pytest

from editor.web.words import Kind, beyond_budget, compare, marked

RED = "a red car on the road"


@pytest.mark.parametrize(
    ("source", "target", "kind", "html"),
    [
        (RED, RED, Kind.SAME, RED),
        (RED, "A red  car, on the road.", Kind.SAME, "A red car, on the road."),
        (RED, "a blue car on the road", Kind.SWAP, "a <del>red</del> <ins>blue</ins> car on the road"),
        (
            RED,
            "a blue bus on the road",
            Kind.SWAP,
            "a <del>red</del> <ins>blue</ins> <del>car</del> <ins>bus</ins> on the road",
        ),
        (RED, "a shiny red car on the road", Kind.ADDITION, "a <ins>shiny</ins> red car on the road"),
        (RED, f"{RED} at sunset", Kind.LOOK, f"{RED} <ins>at sunset</ins>"),
        (RED, f"{RED} as a pencil sketch", Kind.LOOK, f"{RED} <ins>as a pencil sketch</ins>"),
        (RED, "a car on the road", Kind.REMOVAL, "a <del>red</del> car on the road"),
        (RED, "two dogs play chess in a garden at night", Kind.REWRITE, None),
    ],
)
def test_pairs_of_sentences(source, target, kind, html):
    comparison = compare(source, target)
    assert comparison.kind is kind
    assert html is None or marked(comparison) == html


@pytest.mark.parametrize("target", ["a <b>blue</b> car", "<script>alert(1)</script>", 'a "blue" & car'])
def test_nothing_a_visitor_writes_becomes_markup(target):
    html = marked(compare(RED, target))
    for tag in ("<del>", "</del>", "<ins>", "</ins>"):
        html = html.replace(tag, "")
    assert "<" not in html


def test_every_kind_says_what_it_means():
    targets = ["a blue car on the road", "a shiny red car on the road", "a red car on the road at sunset", "car", RED]
    said = [compare(RED, target).meaning for target in targets]
    assert len(set(said)) == len(said) and all(text.endswith(".") for text in said)
    assert compare(RED, "a blue car on the road").meaning.startswith("Swap: “red” becomes “blue”.")


def test_words_beyond_the_models_reach_are_named():
    assert beyond_budget(RED) == ""
    assert beyond_budget(" ".join(["word"] * 80)) == " ".join(["word"] * 5)
    assert beyond_budget("") == ""
