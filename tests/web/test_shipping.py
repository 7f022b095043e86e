"""What ships beside the code: the Space's front matter, the container, and the README's promises."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from dataclasses import fields
from fnmatch import fnmatch

import httpx
import pytest
import yaml

from editor.diffusion.catalog import CATALOG
from editor.settings import ROOT, Settings, variable
from tests.web.serving import free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "editor/jobs/README.md").read_text(encoding="utf-8")
FRONT = README.split("---")[1]
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


COLORS = ("colorFrom", "colorTo")


def said(key):
    return re.search(rf"^{key}: \"?([^\"\n]+)", FRONT, re.MULTILINE)[1]


def test_the_space_runs_what_the_tests_ran():
    assert said("sdk") == "gradio"
    assert f"gradio=={said('sdk_version')}\n" in REQUIREMENTS
    assert (ROOT / said("app_file")).is_file()
    assert said("python_version") == "3.11"


def test_the_space_introduces_itself_within_the_hubs_limits():
    assert len(said("short_description")) <= 60  # longer ones are refused by the Hub
    assert all(said(key) in {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"} for key in COLORS)
    listed = re.findall(r"^  - (\S+)$", FRONT, re.MULTILINE)
    assert set(listed) == {entry.repo for entry in CATALOG.values() if entry.repo}


def test_no_file_is_too_large_for_the_hub():
    large = [p for p in (ROOT / "assets").rglob("*") if p.is_file() and p.stat().st_size > 10_000_000]
    assert not large


def test_the_readme_lists_every_setting_with_its_default():
    for f in fields(Settings):
        row = re.search(rf"^\| `EDITOR_{f.name.upper()}` \| (?:`([^`]*)`)? *\| (.*) \|$", SETTINGS, re.MULTILINE)
        assert row, f"editor/jobs/README.md does not list EDITOR_{f.name.upper()}"
        assert row[2].startswith(f.metadata["help"])
        default = Settings.from_env({f"EDITOR_{f.name.upper()}": row[1] or ""})
        assert getattr(default, f.name) == getattr(Settings(), f.name) or f.name == "data"


def test_the_clusters_examples_name_what_exists():
    """They were not tried; but the settings, the program and the version of Ray in them are those of this project."""
    deploy = ROOT / "assets" / "deploy"
    pinned = re.search(r"^ray\[default\]==(\S+)$", (ROOT / "requirements-cluster.txt").read_text(), re.MULTILINE)[1]
    for name in ("compose.yaml", "kuberay.yaml"):
        text = (deploy / name).read_text(encoding="utf-8")
        assert list(yaml.safe_load_all(text)) and pinned in text and "python app.py" in text
        settings = {variable(f.name) for f in fields(Settings)}
        assert set(re.findall(r"EDITOR_[A-Z_]+", text)) <= settings
        assert "PYTHONPATH" in text, "nodes find the program there"


def test_the_readmes_program_is_valid_python():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks and all(ast.parse(block) for block in blocks)


def instructions():
    """(instruction, rest) of the Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [tuple(line.strip().split(" ", 1)) for line in lines]


def context():
    """The files that `.dockerignore` lets through, as paths relative to the repository."""
    rules = [r for r in (ROOT / ".dockerignore").read_text().splitlines() if r and not r.startswith("#")]
    kept = []
    for path in (p for name in ("app.py", "requirements.txt", "editor", "assets") for p in walk(ROOT / name)):
        relative, ignored = path.relative_to(ROOT), False
        for rule in rules:
            pattern = rule.lstrip("!").removeprefix("**/")
            parts = [str(parent) for parent in (relative, *relative.parents)] + list(relative.parts)
            if any(fnmatch(part, pattern) for part in parts):
                ignored = not rule.startswith("!")
        if not ignored:
            kept.append(relative)
    return kept


def walk(path):
    return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]


def test_a_missing_chromium_is_noticed(tmp_path):
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    script = ["/bin/sh", str(ROOT / ".ci/tools"), "chromium"]
    assert subprocess.run(script, env={"PATH": str(tmp_path)}, check=False).returncode == 1  # no browser, no apt-get


def test_the_container_is_pinned_and_runs_as_an_ordinary_user():
    done = instructions()
    base = dict(done)["FROM"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert ("USER", "recast") in done and any("--uid 1000" in rest for what, rest in done if what == "RUN")
    assert dict(done)["EXPOSE"] == "7860" and dict(done)["CMD"] == '["python", "app.py"]'
    assert "/healthz" in dict(done)["HEALTHCHECK"] and 'CMD ["' in dict(done)["HEALTHCHECK"]
    assert "ffmpeg" not in DOCKERFILE and "requirements-dev" not in DOCKERFILE


def test_the_context_is_small_and_holds_what_runs():
    names = {path.as_posix() for path in context()}
    assert {"app.py", "requirements.txt", "editor/web/static/style.css", "assets/examples/examples.json"} <= names
    assert not any("__pycache__" in name or name.startswith(("tests/", "data/", ".venv/", ".git/")) for name in names)
    assert all((ROOT / rest.split()[0]).exists() for what, rest in instructions() if what == "COPY")


def replay(folder, python):
    """Do as the Dockerfile says in `folder`, and wait until its health check passes."""
    app = folder / "app"
    for relative in context():
        (app / relative).parent.mkdir(parents=True, exist_ok=True)
        (app / relative).write_bytes((ROOT / relative).read_bytes())
    (folder / "data").mkdir()
    port = str(free_port())
    set_there = " ".join(rest for what, rest in instructions() if what == "ENV").replace("/home/recast", str(folder))
    env = {**dict(pair.split("=") for pair in set_there.split()), "PATH": os.environ["PATH"], "EDITOR_PORT": port}
    command = ast.literal_eval(dict(instructions())["CMD"])
    server = subprocess.Popen([str(python), *command[1:]], cwd=app, env=env)
    try:
        check = ast.literal_eval(dict(instructions())["HEALTHCHECK"].split("CMD ", 1)[1])
        checking = [str(python), *(part.replace("7860", port) for part in check[1:])]
        deadline = time.monotonic() + 300
        while subprocess.run(checking, capture_output=True, check=False).returncode:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the health check never passed"
            time.sleep(1)
        page = httpx.get(f"http://127.0.0.1:{port}/", timeout=60)
        assert "Recast" in page.text
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    finally:
        server.kill()
        server.wait()


def test_the_containers_steps_lead_to_a_healthy_page_that_stops_when_asked(tmp_path):
    replay(tmp_path, sys.executable)


@pytest.mark.slow
def test_the_containers_steps_from_nothing(tmp_path):
    """Also the installation, into an environment of its own: gigabytes on a machine that gets the CUDA wheels."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    for install in (rest for what, rest in instructions() if what == "RUN" and "pip install" in rest):
        subprocess.run([str(python), "-m", *install.split()], cwd=ROOT, check=True)
    replay(tmp_path, python)
