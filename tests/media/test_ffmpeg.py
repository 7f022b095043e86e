"""The bounds on an ffmpeg process hold, and nothing of the caller reaches it."""

import os
import subprocess
import sys

import pytest

from editor.media.ffmpeg import LOG_BYTES, Bounds, ffmpeg_path, run
from tests.media.footage import MOVING, lavfi

ENDLESS = lavfi("testsrc=size=640x480:rate=30")


def test_the_clock_ends_a_process_that_waits() -> None:
    outcome = run(["-re", *ENDLESS, "-f", "null", "-"], Bounds(wall_seconds=1.0))  # -re: hardly any processor time
    assert outcome.timed_out and outcome.out_of_time and outcome.stopped


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX")
def test_processor_time_is_limited() -> None:
    outcome = run([*ENDLESS, "-f", "null", "-"], Bounds(cpu_seconds=1, wall_seconds=120))
    assert outcome.out_of_time and not outcome.timed_out


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_memory_is_limited() -> None:
    huge = ["-f", "lavfi", "-i", "color=size=8000x8000:rate=1:duration=1", "-f", "null", "-"]
    assert run(huge, Bounds()).code == 0
    assert run(huge, Bounds(memory_bytes=300 * 2**20)).code != 0


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX")
def test_file_size_is_limited(tmp_path) -> None:
    target = tmp_path / "big.nut"
    drawn = [*lavfi(MOVING), "-c:v", "rawvideo", "-f", "nut", f"file:{target}"]
    outcome = run(drawn, Bounds(file_bytes=20_000))
    assert outcome.file_too_large and outcome.stopped
    assert target.stat().st_size <= 20_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_recognised() -> None:
    outcome = run(["-y", *lavfi(MOVING), "-c:v", "rawvideo", "-f", "nut", "file:/dev/full"])
    assert outcome.disk_full


def test_a_flood_of_log_lines_neither_blocks_nor_grows() -> None:
    """What is kept is the beginning, with the summary of the input, and the end, with the reason of a failure."""
    source = "testsrc=size=64x48:rate=500:duration=6,showinfo"  # a line of 200 bytes or more for each of 3000 frames
    outcome = run(["-loglevel", "verbose", *lavfi(source), "-f", "null", "-"])
    assert outcome.code == 0
    assert 2 * LOG_BYTES <= len(outcome.log) <= 3 * LOG_BYTES  # below the lower bound this would test nothing
    assert "Input #0, lavfi" in outcome.log
    assert "3000 frames decoded" in outcome.log


def test_output_that_is_not_wanted_does_not_block() -> None:
    raw = [*lavfi("testsrc=size=640x480:rate=30:duration=5"), "-f", "rawvideo", "pipe:1"]
    assert run(raw, read=lambda stream: stream.read(1000)).output[:10] == run(raw, read=lambda s: s.read(10)).output


def test_an_error_while_reading_ends_the_process(monkeypatch) -> None:
    started = []

    class Remembered(subprocess.Popen):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    def fail(stream) -> bytes:
        stream.read(10)
        raise KeyboardInterrupt

    monkeypatch.setattr("editor.media.ffmpeg.subprocess.Popen", Remembered)
    with pytest.raises(KeyboardInterrupt):
        run(["-re", *ENDLESS, "-f", "rawvideo", "pipe:1"], read=fail)
    assert started[0].returncode is not None


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX")
def test_the_process_sees_limits_an_empty_folder_and_no_secrets(monkeypatch) -> None:
    """A stand-in for ffmpeg tells what it finds."""
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setattr("editor.media.ffmpeg.ffmpeg_path", lambda: "/bin/sh")
    monkeypatch.setattr("editor.media.ffmpeg._ARGUMENTS", ("-c",))
    outcome = run(["env; ulimit -t; ulimit -n; ulimit -c; ls -A | wc -l; pwd"], Bounds(cpu_seconds=7, descriptors=33))
    *environment, seconds, descriptors, core, files, home = outcome.output.decode().split()
    assert not any("s3cret" in line for line in environment)
    assert f"HOME={home}" in environment
    assert (seconds, descriptors, core, files) == ("7", "33", "0", "0")
    assert not os.path.exists(home)


def test_only_the_binary_that_comes_with_the_package_is_used(monkeypatch, tmp_path) -> None:
    impostor = tmp_path / "ffmpeg"
    impostor.write_text("#!/bin/sh\necho impostor\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert os.path.isabs(ffmpeg_path()) and "imageio_ffmpeg" in ffmpeg_path()
    assert run(["-version"]).output.startswith(b"ffmpeg version")


def test_media_is_imported_without_torch_and_without_moviepy() -> None:
    code = "import sys, editor.media; print([m for m in ('torch', 'moviepy', 'gradio', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
