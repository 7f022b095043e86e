"""What the page tells, and in which language: about the sentences, the cost of an edit, and a job with its results."""

import ast
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from editor.events import EditResult, Stage
from editor.jobs import JobState, JobView
from editor.method.control import control
from editor.reading import read_edit
from editor.request import PRESETS, EditRequest
from editor.settings import ROOT
from editor.web import texts
from editor.web.advanced import GROUPS, advanced_fields, parse_field, shown
from editor.web.estimate import Pace, evaluations, memory_gb, planned
from editor.web.examples import load_examples
from editor.web.view import COUNTED, label, page_view, quality, settings_rows
from editor.web.words import NAMES, beyond_budget, marked, pointed

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


def test_words_know_their_maps():
    def rows(target, source=RED, ours=RED, theirs=None):
        maps = {"source": ours.split(), "target": (target if theirs is None else theirs).split()}
        return [(w["mark"] + w["text"], w["rows"]) for w in pointed(read_edit(source, target), maps)]

    assert rows("a blue car on the road") == [
        *[("a", [0, 6]), ("delred", [1, 1]), ("insblue", [7, 7]), ("car", [2, 8])],
        *[("on", [3, 9]), ("the", [4, 10]), ("road", [5, 11])],
    ]
    assert rows("the shiny red car") == [
        *[("dela", [0, 0]), ("insthe", [6, 6]), ("insshiny", [7, 7]), ("red", [1, 8]), ("car", [2, 9])],
        *[("delon", [3, 3]), ("delthe", [4, 4]), ("delroad", [5, 5])],
    ]
    assert rows("a red <b>car</b>", theirs="a red")[-1] == ("ins<b>car</b>", None), "cut off, and text all the same"
    assert rows(RED, ours="") == [(word, [n, n]) for n, word in enumerate(RED.split())], "the source never ran"


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


def asking(preset="balanced", **values):
    return EditRequest.from_preset(
        preset, source="a red car on the road", targets=values.pop("targets", ("a blue car on the road",)), **values
    )


def test_the_paper_costs_most_and_fast_least():
    cost = {name: evaluations(asking(name), 8) for name in PRESETS}
    assert min(cost, key=cost.get) == "fast" and max(cost, key=cost.get) == "paper"


@pytest.mark.parametrize("taken", ["source_kv", "source_maps"])
def test_a_source_row_that_only_self_attention_reads_is_counted(taken):
    def edit(**values):
        return planned(asking(**values))["edit"]

    assert edit(self_attention=taken) == edit(self_attention="own"), "the residual reads that row to the end anyway"
    for values in ({"residual": 0.0}, {"inversion": "ddim"}):
        assert edit(self_attention=taken, **values) > edit(self_attention="own", **values)


def test_a_second_target_costs_less_than_a_second_job():
    one, two = asking(), asking(targets=("a blue car on the road", "a green car on the road"))
    assert evaluations(one, 8) < evaluations(two, 8) < 2 * evaluations(one, 8)


def test_a_reused_inversion_costs_nothing_again():
    assert evaluations(asking(), 8, reused=True) == 8 * planned(asking())["edit"]


def test_the_first_numbers_are_called_a_guess_and_later_ones_are_not(tmp_path):
    pace = Pace(tmp_path)
    assert not pace.cost(asking(), 8).measured
    pace.learn("job", asking(), 8, seconds=20.0, reused=False)
    cost = pace.cost(asking(), 8)
    assert cost.measured and cost.seconds == pytest.approx(20.0)
    assert Pace(tmp_path).cost(asking(), 8) == cost  # it is kept on disk


def test_one_job_is_learned_from_once(tmp_path):
    pace = Pace(tmp_path)
    for _ in range(3):
        pace.learn("job", asking(), 8, seconds=20.0, reused=False)
    pace.learn("job", asking(), 8, seconds=40.0, reused=False)
    assert pace.cost(asking(), 8).seconds == pytest.approx(20.0)
    pace.learn("another", asking(), 8, seconds=40.0, reused=False)
    assert pace.cost(asking(), 8).seconds == pytest.approx(30.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_teach_nothing(tmp_path, seconds):
    pace = Pace(tmp_path)
    pace.learn("job", asking(), 8, seconds=seconds, reused=False)
    assert not pace.cost(asking(), 8).measured


@pytest.mark.parametrize("content", ["", "[]", "{", '{"demo@own": "fast"}', '{"demo@own": -1}'])
def test_a_damaged_memory_starts_anew(tmp_path, content):
    (tmp_path / "pace.json").write_text(content)
    assert not Pace(tmp_path).cost(asking(), 8).measured


@pytest.mark.parametrize(("frames", "targets", "counted"), [(8, 1, 3.4), (16, 1, 5.0), (32, 1, 8.3), (16, 4, 11.6)])
def test_memory_is_what_was_counted_on_the_true_shape_of_stable_diffusion(frames, targets, counted):
    """In half precision at 512 x 512; text encoder, VAE and safety checker take 2 GB beside."""
    asked = asking(model="sd15", targets=("a blue car on the road",) * targets)
    assert memory_gb(asked, frames, half=True) - 2 == pytest.approx(counted, rel=0.05)


REQUEST = EditRequest.from_preset(
    "balanced", source="a red car", targets=("a blue car",), steps=30, null_text_window=(0.0, 0.5)
)
RUNNING = JobView("a" * 32, JobState.RUNNING, REQUEST.to_dict(), mine=True, created=0.0, started=1.0)


def result(folder=Path("/data/jobs/a/run-1/result/0")):
    summary = {"vae_psnr": 34.25, "frames": 16, "seconds": 12, "reconstruction_psnr": None, "inversion_cached": True}
    return EditResult("a blue car", folder, summary)


def test_no_path_and_no_secret_leaves_the_server():
    done = replace(RUNNING, state=JobState.DONE, results=(result(),), clip=Path("/data/jobs/a/clip.mp4"))
    assert "/data" not in str(page_view(done)) and "owner" not in page_view(done)


def test_files_are_named_below_the_job():
    view = page_view(replace(RUNNING, state=JobState.DONE, results=(result(), result())))
    assert view["results"][1]["edited"] == f"job/{'a' * 32}/1/edited.mp4"


def test_the_share_of_the_work_grows_through_all_stages():
    seen = [
        page_view(replace(RUNNING, stage=stage, done=done, total=4))["fraction"] for stage in Stage for done in range(5)
    ]
    assert seen == sorted(seen) and seen[0] == 0 and 0.9 < seen[-1] < 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"state": JobState.QUEUED, "position": 1}, "Next in line"),
        ({"state": JobState.QUEUED, "position": 4}, "3 ahead of you"),
        ({"state": JobState.QUEUED, "position": 2, "wait": 200.0}, "1 ahead of you, starts in about 3 min"),
        (
            {"state": JobState.QUEUED, "position": 1, "devices": 0},
            "Waiting for a computer to do the work; your place is kept",
        ),
        ({}, "Loading the model"),
        ({"stage": Stage.EDIT, "done": 3, "total": 25}, "Editing, step 3 of 25"),
        ({"stage": Stage.EDIT, "message": "Started again after a crash."}, "Started again after a crash."),
        ({"stage": Stage.EDIT, "stopping": True}, "Stopping after this step"),
        ({"state": JobState.FAILED, "error": "Too dark."}, "Too dark."),
    ],
)
def test_one_sentence_says_what_is_going_on(changes, line):
    assert page_view(replace(RUNNING, **changes))["line"] == line


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, []),
        ({"device": "device"}, [["Device", "this server, the only one"]]),
        ({"device": "cuda:1", "devices": 4}, [["Device", "cuda:1, one of 4"]]),
    ],
)
def test_the_device_is_named_among_the_details(changes, rows):
    assert [row for row in page_view(replace(RUNNING, **changes))["settings"] if row[0] == "Device"] == rows


def test_a_preview_has_a_new_address_for_new_content():
    first = replace(RUNNING, preview=Path("p.webp"), preview_version=1)
    assert page_view(first)["preview"] != page_view(replace(first, preview_version=2))["preview"]
    assert page_view(RUNNING)["preview"] is None


def test_numbers_are_shown_with_units_and_only_where_known():
    view = page_view(replace(RUNNING, state=JobState.DONE, results=(result(),)))
    shown = {row["label"]: row["value"] for row in view["results"][0]["numbers"]}
    assert shown == {"Autoencoder": "34.2 dB", "Time": "12 s", "Frames": "16", "Inversion": "reused"}


def test_quality_is_said_in_words():
    said = {
        row["label"]: (row["word"], row["value"])
        for row in quality({"kept_psnr": 38.4, "flicker": 1.7, "sharpness": None})
    }
    assert said == {
        "What should stay": ("hard to tell from the clip", "38 dB"),
        "Flicker": ("flickers", "1.70 times the clip's"),
    }
    extremes = ({"kept_psnr": 99.0, "flicker": 1e9, "sharpness": 0.0, "unfollowed": 1.0}, {"kept_psnr": 0})
    assert [len(quality(summary)) for summary in extremes] == [4, 1] and quality({}) == []


@pytest.mark.parametrize(
    ("value", "word"), [(-0.4, "hard to find"), (0.9, "weaker than in the clip"), (1.0, "as clear as in the clip")]
)
def test_the_match_with_the_sentence_is_said_where_it_is_known(value, word):
    (row,) = quality({"text_match": value})
    assert (row["label"], row["word"], row["value"]) == ("Text match", word, f"{value:.2f} times the clip's")
    assert row["meaning"].endswith(".") and quality({"text_match": None}) == []


def test_the_recipe_names_what_differs_from_the_preset():
    rows = dict(settings_rows(REQUEST))
    assert rows["Preset"] == "Balanced" and rows["Steps"] == "30" and rows["Null text window"] == "0 to 0.5"
    assert "Guidance scale" not in rows


def test_a_job_of_an_older_version_can_still_be_looked_at():
    view = page_view(replace(RUNNING, request={"source": "a red car", "forgotten_setting": 1}))
    assert view["state"] == "running" and view["settings"] == []


PAGE = sorted((ROOT / "editor/web").rglob("*.py"))
SCRIPTS = sorted((ROOT / "editor/web/static").glob("*.js"))
KEPT = ("ENGLISH", "TITLE", "SOURCE_HINT", "TARGETS_HINT")
"""Constants of `texts` that are the same in every language; the hints are for a model, which reads English."""


def sentences_in(value):
    """All texts inside a value of `texts`; keys are no sentences."""
    if isinstance(value, str):
        return {value} - {""}
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    return set().union(*map(sentences_in, values))


def sentences_of_the_page():
    """All that is told through `_`: written in the call, in `texts`, in a script, or taken from a request's fields."""
    names = [
        n.targets[0].id for n in ast.parse((ROOT / "editor/web/texts.py").read_text()).body if type(n) is ast.Assign
    ]
    found = set().union(*(sentences_in(getattr(texts, name)) for name in names if name.isupper() and name not in KEPT))
    for node in (node for file in PAGE for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "_"
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(node.args[0].value)
    for script in SCRIPTS:
        found |= set(re.findall(r'(?<!\w)_\("([^"]*)"', script.read_text(encoding="utf-8")))
    advanced = advanced_fields().values()
    found |= {label(f.name) for f in advanced} | {f.metadata["help"] for f in advanced}
    found |= {choice.replace("_", " ") for f in advanced for choice in f.metadata.get("choices") or ()}
    return found | {*GROUPS, *COUNTED.values(), *NAMES.values(), *(example.title for example in load_examples())}


def placeholders(sentence):
    return sorted(re.findall(r"\{(\w+)", sentence))


def test_every_language_has_every_sentence_of_the_page_and_no_other():
    wanted = sentences_of_the_page()
    assert len(wanted) > 300 and "de" in texts.LANGUAGES
    for told in texts.LANGUAGES.values():
        assert set(told) == {"numbers", "page", "rooms"}
        assert set(told["page"]) == wanted
        for english, translated in told["page"].items():
            assert set(placeholders(translated)) == set(placeholders(english)), english
            assert re.findall('[<>&"]', translated) == re.findall('[<>&"]', english), english


def test_sentences_of_other_rooms_are_still_written_there():
    """Every piece between two fields of them stands in some text of the program."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "editor").rglob("*.py"))
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    written = "\n".join(value for value in constants if isinstance(value, str))
    for told in texts.LANGUAGES.values():
        for english, translated in told["rooms"].items():
            assert set(placeholders(translated)) <= set(placeholders(english)), english
            pieces = [piece.strip(" .,()") for piece in re.split(r"\{\w+\}|, ", english)]
            assert any(pieces), "a field alone would be every sentence"
            assert all(piece in written for piece in pieces), english


@pytest.mark.parametrize(
    ("header", "language"),
    [
        *[
            (header, "de")
            for header in ("de", "de-AT", "DE-de,de;q=0.9,en;q=0.8", "en;q=0.5, de;q=0.8", "fr, de;q=0.3")
        ],
        *[(header, "en") for header in ("en,de;q=0.5", "en-GB,de", "fr", "*", "de;q=0", "de;q=2", "desk", "de_DE")],
        *[(header, "en") for header in (None, "", ",;,", "q=1", "\x00\xff", "de;" * 999)],
    ],
)
def test_the_browser_chooses_the_language(header, language):
    assert texts.preferred(header) == language


def test_german_sentences_are_german_to_the_last_number():
    with texts.speaking("de"):
        assert texts._(texts.RUN_SEVERAL, n=3) == "3 Fassungen erstellen"
        assert texts.queued(3, 7200, 1) == "2 davor, Beginn in etwa 2,0 h"
        assert quality({"flicker": 1.0})[0]["value"] == "1,00-mal so viel wie im Clip"
        window = advanced_fields()["null_text_window"]
        assert shown((0.5, 1.0)) == "0.5 bis 1" and parse_field(window, shown((0.5, 1.0))) == (0.5, 1.0)
        assert ["Abschnitt", "0 s bis zum Ende"] in settings_rows(REQUEST)
    assert ["Interval", "0 s to the end"] in settings_rows(REQUEST)


def test_what_other_rooms_say_is_told_where_it_is_known():
    with texts.speaking("de"):
        meaning = control(read_edit(RED, "a blue bus on the road at sunset"), asking()).meaning
        told = texts.heard(meaning)
        assert told.startswith("Aus „red car“ wird „blue bus“ (Motiv); „at sunset“ kommt hinzu (Zeit oder Licht). ")
        assert not re.search(r"\b(becomes|is added|Shapes|layout|steps)\b", told), told
        assert texts.heard("“place” becomes “look” (place).") == "Aus „place“ wird „look“ (Ort).", "words stay"
        assert texts.heard("The ink ran out. Buy some.") == "The ink ran out. Buy some."
        assert texts.heard(REQUEST.origin()).startswith(
            "Voreinstellung ausgewogen, Stärke normal, Familie gezeichnet: mit"
        )
    assert texts.heard(meaning) == meaning
