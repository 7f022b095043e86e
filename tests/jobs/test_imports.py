"""The server process must stay light: what it imports is checked in a fresh interpreter."""

import subprocess
import sys

import pytest

from tests.jobs.conftest import ROOT

HEAVY = {"torch", "diffusers", "transformers", "xformers", "gradio"}


@pytest.mark.parametrize("modules", ["editor.jobs", "editor.jobs.worker, editor.jobs.engine"])
def test_no_heavy_library_is_imported(modules):
    code = f"import sys, {modules}; sys.stdout.write(' '.join(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = set(out.split())
    assert "editor" in loaded
    assert not loaded & HEAVY
