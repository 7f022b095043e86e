"""`python -m editor explain`, and that page, command and manifest say the same."""

import json
import subprocess
import sys

import pytest

from editor.cli import main
from editor.explain import explain, read_pairs
from editor.method.words import plan_control
from editor.request import EditRequest
from editor.web.desk import Desk
from tests import tiny
from tests.reading.pairs import TABLE

KEYS = {"kind", "changes", "main", "kept", "maps_until", "self_attention_until", "guidance", "meaning"}


def test_page_command_and_manifest_agree():
    tokenizer = tiny.tokenizer()
    for source, target in read_pairs(TABLE)[::3]:
        request = EditRequest.from_preset("balanced", source=source, targets=(target,))
        said = explain(source, target)
        recorded = plan_control(source, target, request, tokenizer).control.explanation()
        (shown,) = Desk.advice(None, source, [target], request)
        assert {"source": source, "target": target, **recorded} == said
        assert (shown["kind"], shown["meaning"]) == (said["kind"], said["meaning"])
    assert len(read_pairs(TABLE)[::3]) >= 30


def test_one_pair_is_explained_in_lines_or_as_json(capsys):
    asked = ["explain", "--source", "a red car on the road", "--target", "a red car in the snow"]
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert "kind: place" in text and "kept: car (the main thing, where only its place changes)" in text
    assert main([*asked, "--json", "--preset", "paper"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert KEYS <= set(found) and found["kept"] == [] and found["guidance"] == 7.5


def test_a_table_gives_one_object_per_line_without_torch(tmp_path, capsys):
    assert main(["explain", "--pairs", str(TABLE)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["source"], line["target"]) for line in lines] == read_pairs(TABLE)
    code = "import sys; from editor.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code, "explain", "--pairs", str(TABLE)], stdout=subprocess.DEVNULL
        ).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "table", "said"),
    [
        ([], None, "Give --source and --target, or --pairs"),
        (["--source", "a car"], None, "Say what the clip should show instead"),
        (["--source", " ", "--target", "a car"], None, "Say what the clip shows"),
        (["--source", "a car", "--pairs", "TABLE"], "source\ttarget\na\tb\n", "not both"),
        (["--pairs", "TABLE"], None, "cannot be read: No such file"),
        (["--pairs", "TABLE"], "", "has no column source and no column target"),
        (["--pairs", "TABLE"], "source,target\na,b\n", "has no column source and no column target"),
        (["--pairs", "TABLE"], "source\tkind\na\tb\n", "has no column target"),
        (["--pairs", "TABLE"], "source\ttarget\n", "has no pairs"),
        (["--pairs", "TABLE"], "source\ttarget\na car\ta bus\na car\n", "Line 3 of .* has an empty target"),
        (["--pairs", "TABLE"], b"\xff\xfe\x00", "it is not UTF-8 text"),
    ],
)
def test_bad_input_is_one_clear_sentence(arguments, table, said, tmp_path, capsys):
    file = tmp_path / "pairs.tsv"
    if table is not None:
        file.write_bytes(table if isinstance(table, bytes) else table.encode())
    assert main(["explain", *(str(file) if a == "TABLE" else a for a in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    import re

    assert re.search(said, error)
