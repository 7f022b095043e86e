"""What crosses the process boundary arrives as it was sent, one line each."""

from pathlib import Path

import pytest

from editor.events import EditResult, Progress, Stage
from editor.jobs.executor import Ending, Outcome, PreviewSaved, Task
from editor.jobs.wire import Beat, Run, Setup, Stop, decode, encode
from editor.settings import Settings
from tests.jobs.conftest import asking

RESULT = EditResult(
    "ein blaues\nAuto é", Path("/a/0"), {"psnr": 1.5, "frames": 3, "inversion_cached": False, "n": None}
)


@pytest.mark.parametrize(
    "message",
    [
        Setup("a:b", Settings(data=Path("/x/ü"), models=("demo", "b"), share=True, keep_hours=float("inf")), 1.0, 0.5),
        Run("device", Task(Path("/a/run-1"), Path("/a/p.webp"), asking(word_weights={"snow": 1.5}, end=2.5))),
        Stop(),
        Beat(),
        Progress(Stage.NULL_TEXT, 3, 25, None, "line one\nline two"),
        PreviewSaved(1, 4, 25),
        Outcome(Ending.DONE, results=(RESULT, RESULT)),
        Outcome(Ending.FAILED, message="too “long”"),
    ],
)
def test_there_and_back(message):
    line = encode(message)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line) == message
    assert repr(decode(line)) == repr(message)  # equal is not enough: False == 0 and 3 == 3.0


def test_only_known_things_cross():
    with pytest.raises(ValueError, match="object"):
        encode(Outcome(Ending.DONE, message=object()))
    with pytest.raises(KeyError):
        decode(b'{"kind": "Popen", "body": {"args": "x"}}')
    with pytest.raises(ValueError, match="settings"):
        decode(b'{"kind": "Setup", "body": {"engine": "a:b"}}')
