"""The command line: flags derived from the request, what is printed where, exit codes, interruption."""

import json
import logging
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from editor import cli
from editor.console import JsonLines, ProgressBar, clock, line
from editor.events import Progress, Stage
from editor.flags import flag, request_from
from editor.media import probe
from editor.request import PRESETS, EditRequest
from editor.settings import ROOT
from tests import tiny
from tests.tiny import write_clip

PROMPTS = ["--source", "a red car", "--target", "a blue car"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(tiny.save_checkpoint(tmp_path_factory.mktemp("checkpoint"), "demo"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", sound=True))


@pytest.fixture(autouse=True)
def quiet_place(monkeypatch, tmp_path):
    """Caches go to the test's own folder, and everything runs on the CPU."""
    monkeypatch.setenv("EDITOR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EDITOR_DEVICE", "cpu")


def parsed(*flags):
    return request_from(cli._parser().parse_args(["edit", "clip.mp4", *PROMPTS, *flags]))


# --- the log


def test_a_log_for_machines_has_one_object_a_line():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("editor.jobs", logging.ERROR, "", 1, "job %s\nfailed", ("x",), sys.exc_info())
    line = JsonLines("worker").format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert {**told, "time": "", "error": ""} == {
        **{"time": "", "level": "error", "logger": "editor.jobs", "process": "worker"},
        **{"message": "job x\nfailed", "error": ""},
    }
    assert told["time"].endswith("+00:00") and "ValueError: two\nlines" in told["error"]


# --- flags


def test_every_field_of_the_request_has_its_flag_and_its_help(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["edit", "--help"])
    assert ended.value.code == 0
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    for f in fields(EditRequest):
        assert f"{flag(f.name)} " in shown.replace(",", " "), f.name
        assert f.metadata["help"] in shown, f.name


def test_flags_reach_the_request_in_their_types():
    request = parsed(
        *("--preset", "fast", "--target", "a cat", "--steps", "7", "--key-fps", "4", "--no-blend"),
        *("--null-text-window", "0.25", "0.5", "--word-weight", "blue=1.5", "--word-weight", "car=-1"),
        *("--lora", "some/neon.safetensors=0.8", "--lora", "ink", "--vae", "org/vae", "--clip-skip", "1"),
        *("--guidance-scale", "3", "--inversion", "ddim", "--start", "0.5", "--end", "2"),
    )
    assert request.targets == ("a blue car", "a cat")
    assert (request.preset, request.steps, request.key_fps, request.blend) == ("fast", 7, 4.0, False)
    assert request.null_text_window == (0.25, 0.5)
    assert request.word_weights == {"blue": 1.5, "car": -1.0}
    assert request.loras == {"some/neon.safetensors": 0.8, "ink": 1.0}
    assert (request.vae, request.clip_skip) == ("org/vae", 1)
    assert (request.guidance_scale, request.inversion, request.start, request.end) == (3.0, "ddim", 0.5, 2.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_flags_that_are_not_given_leave_the_presets_values(preset):
    expected = EditRequest.from_preset(preset, source="a red car", targets=("a blue car",))
    assert parsed("--preset", preset) == expected


def test_the_default_is_the_requests_own():
    assert parsed() == EditRequest.from_preset(EditRequest().preset, source="a red car", targets=("a blue car",))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edit", "clip.mp4", *PROMPTS, "--speed", "2"], "--speed"),
        (["edit", "clip.mp4", *PROMPTS, "--preset", "best"], "paper"),
        (["edit", "clip.mp4", *PROMPTS, "--steps", "many"], "--steps"),
        (["edit", "clip.mp4", *PROMPTS, "--word-weight", "snow"], "not WORD=NUMBER"),
        (["edit", "clip.mp4", *PROMPTS, "--lora", "neon=much"], "not FILE=NUMBER"),
        (["edit", "clip.mp4", *PROMPTS, "--frame-attention", "some"], "sparse"),
        (["paint"], "paint"),
        ([], "command"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_mistake(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["edit", "nowhere.mp4", *PROMPTS], "no file 'nowhere.mp4'"),
        (["edit", "CLIP", "--target", "a cat"], "source prompt"),
        (["edit", "CLIP", "--source", "a cat"], "target prompt"),
        (["edit", "CLIP", *PROMPTS, "--steps", "0"], "1 to 200"),
        (["edit", "CLIP", *PROMPTS, "--model", "sd99"], "no model 'sd99'"),
        (["edit", "CLIP", *PROMPTS, "--start", "2", "--end", "1"], "the end must come later"),
    ],
)
def test_what_cannot_be_done_ends_with_1_and_one_sentence(arguments, said, clip, capsys):
    assert cli.main([clip if a == "CLIP" else a for a in arguments]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err and "Traceback" not in told.err


# --- a run


def test_json_prints_one_object_and_progress_goes_to_stderr(checkpoint, clip, tmp_path, capsys):
    arguments = ["--model", checkpoint, "--steps", "2", "--max-frames", "2", "--out", str(tmp_path / "out")]
    code = cli.main(["edit", clip, *PROMPTS, "--target", "a cat", *arguments, "--json", "--check"])
    told = capsys.readouterr()
    assert code == 0
    results = json.loads(told.out)["results"]
    assert [r["target"] for r in results] == ["a blue car", "a cat"]
    for result in results:
        assert list(result) == [
            *("target", "edited", "side_by_side", "poster", "manifest"),
            *("unet_evaluations_per_frame", "vae_psnr", "reconstruction_psnr", "seconds"),
        ]
        assert probe(Path(result["edited"])).frames == 2
        assert all(isinstance(result[k], float) for k in ("vae_psnr", "reconstruction_psnr", "seconds"))
    for stage in ("reading the clip", "inverting", "editing", "writing"):
        assert stage in told.err
    assert "\r" not in told.err, "a stream that is no terminal gets plain lines"


def test_without_json_the_files_and_the_notes_are_printed(checkpoint, clip, tmp_path, capsys):
    arguments = ["--model", checkpoint, "--steps", "2", "--max-frames", "2", "--out", str(tmp_path / "out")]
    assert cli.main(["edit", clip, *PROMPTS, *arguments, "--no-cache"]) == 0
    told = capsys.readouterr().out
    assert f"a blue car: {tmp_path / 'out' / '0' / 'edited.mp4'}" in told
    assert "device cpu: asked for with EDITOR_DEVICE" in told
    assert not (tmp_path / "data").exists(), "no cache was asked for"


def test_ctrl_c_cleans_up_and_exits_with_130(checkpoint, clip, tmp_path):
    out = tmp_path / "out"
    arguments = ["--model", checkpoint, "--steps", "200", "--max-frames", "8", "--out", str(out)]
    command = [sys.executable, "-m", "editor", "edit", clip, *PROMPTS, *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in what a script starts with "&"
    )
    try:
        heard = []
        for text in process.stderr:  # ends when the process does
            heard.append(text)
            if "inverting" in text:
                break
        assert list(out.iterdir()), f"the edit is under way in its scratch folder: {heard}"
        process.send_signal(signal.SIGINT)
        told, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told == "" and "interrupted" in error and "Traceback" not in error
    assert list(out.iterdir()) == []


def test_other_commands_are_imported_only_when_they_are_called(monkeypatch):
    from types import SimpleNamespace

    seen = []
    module = SimpleNamespace(main=lambda argv: seen.append(argv) or 3)
    monkeypatch.setattr("importlib.import_module", lambda name: seen.append(name) or module)
    assert cli.main(["evaluate", "--quick", "--json"]) == 3
    assert seen == ["editor.evaluation.cli", ["--quick", "--json"]]


# --- the progress bar


class Screen:
    """A terminal that remembers what was written to it."""

    def __init__(self, terminal):
        self.text, self.terminal = "", terminal

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_line_names_the_stage_the_share_and_the_time_left():
    assert line(Progress(Stage.EDIT, 12, 24, 65.4)) == "editing            [############------------] 12/24  1:05 left"
    assert "left" not in line(Progress(Stage.ENCODE, 0, 1))


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_the_clock(seconds, shown):
    assert clock(seconds) == shown


def test_on_a_terminal_one_line_is_redrawn_and_closed():
    screen = Screen(terminal=True)
    with ProgressBar(screen) as bar:
        bar(Progress(Stage.INVERT, 0, 2))
        bar(Progress(Stage.INVERT, 2, 2))
    assert screen.text.count("\r") == 2 and screen.text.count("\n") == 1 and screen.text.endswith("\n")


def test_elsewhere_each_stage_is_one_plain_line():
    screen = Screen(terminal=False)
    with ProgressBar(screen) as bar:
        for done in range(50):
            bar(Progress(Stage.INVERT, done, 50))
        bar(Progress(Stage.EDIT, 0, 50))
    assert len(screen.text.splitlines()) == 2 and "\x1b" not in screen.text


def test_time_passes_between_redraws_of_a_live_bar(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    screen = Screen(terminal=True)
    bar = ProgressBar(screen)
    for done in range(100):
        now[0] += 0.01
        bar(Progress(Stage.EDIT, done, 200))
    assert 5 <= screen.text.count("\r") <= 15, "about ten redraws a second, not a hundred"
