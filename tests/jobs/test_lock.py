"""The device lock: exclusive between threads and processes, free when its holder is gone."""

import subprocess
import sys

import pytest

from editor.events import Cancelled
from editor.jobs.perform import device_lock
from tests.jobs.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from editor.jobs.perform import device_lock
with device_lock(Path(sys.argv[1]), lambda: False):
    sys.stdout.write("held\\n"); sys.stdout.flush()
    time.sleep(600)
"""


def taken(path):
    """Whether somebody holds the lock: waiting for it is given up at once."""
    try:
        with device_lock(path, lambda: True):
            return False
    except Cancelled:
        return True


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "device.lock"
    with device_lock(path, lambda: False):
        assert taken(path)
        assert not taken(tmp_path / "other.lock")
    assert not taken(path)


def test_an_error_frees_it(tmp_path):
    path = tmp_path / "device.lock"
    with pytest.raises(KeyError), device_lock(path, lambda: False):
        raise KeyError
    assert not taken(path)


def test_a_killed_process_frees_it(tmp_path):
    path = tmp_path / "device.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    assert taken(path)
    process.kill()
    process.wait()
    process.stdout.close()
    assert not taken(path)
