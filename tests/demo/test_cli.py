"""`python -m editor demo`: what it writes, and how it refuses."""

import json

import pytest

from editor.demo.cli import main
from editor.events import EditError
from editor.media import probe

CAR = ["render", "--subject", "car", "--color", "red", "--place", "road", "--seed", "7"]


def test_render_writes_a_clip_that_plays(tmp_path, capsys):
    out = tmp_path / "folder" / "red.mp4"
    assert main([*CAR, "--frames", "6", "--out", str(out)]) == 0
    assert "a red car on the road" in capsys.readouterr().out
    found = probe(out)
    assert (found.frames, found.size) == (6, (96, 96))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*CAR, "--frames", "0"], "frames is 0"),
        ([*CAR, "--size", "50"], "multiples of 8"),
        (["render", "--subject", "unicorn"], "no subject 'unicorn'"),
        (["render", "--subject", "duck", "--color", "red"], "cannot be painted"),
        (["sample", "a fox", "--steps", "0", "--out", "x.png"], "steps is 0"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(tmp_path, arguments, words):
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "x.mp4")]
    with pytest.raises(EditError, match=words):
        main([*arguments, *out])
    assert not list(tmp_path.iterdir())


def test_an_unwritable_path_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EditError, match="cannot be written"):
        main([*CAR, "--out", str(tmp_path / "file" / "red.mp4")])
    with pytest.raises(EditError, match=r"end in \.mp4"):
        main([*CAR, "--out", str(tmp_path / "red.txt")])


def test_sample_writes_a_picture_and_names_unknown_words(tmp_path, capsys):
    out = tmp_path / "fox.png"
    assert main(["sample", "a blue lego fox in the snow", "--steps", "2", "--out", str(out)]) == 0
    assert "lego" in capsys.readouterr().err
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_examples_are_there_with_prompts_the_model_knows():
    from editor.demo.examples import FOLDER
    from editor.demo.vocabulary import unknown_words

    entries = json.loads((FOLDER / "examples.json").read_text())
    assert len(entries) == 6
    found = [probe(FOLDER / entry["file"]) for entry in entries]
    assert all(2 <= clip.seconds <= 3 for clip in found) and sum(clip.has_audio for clip in found) == 1
    assert not any(unknown_words(text) for entry in entries for text in (entry["source"], *entry["targets"]))
