"""The page's process stays small: it imports no torch, and nothing of the page is imported by other rooms."""

import subprocess
import sys

from editor.settings import ROOT


def test_no_torch_is_imported():
    code = "import sys, editor.web.app; sys.exit(bool({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_only_one_module_of_the_page_knows_the_demo_world():
    knowing = {p.name for p in (ROOT / "editor/web").glob("*.py") if "editor.demo" in p.read_text(encoding="utf-8")}
    assert knowing == {"known.py"}


def test_app_py_is_short():
    assert len((ROOT / "app.py").read_text(encoding="utf-8").splitlines()) <= 30
