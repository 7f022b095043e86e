"""The house rules of the layout: who may import whom, what stays free of torch, and where single decisions live."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(ROOT.glob("editor/**/*.py"))
MODULES = {file.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): file for file in FILES}
ORDER = (
    *("__main__", "cli", "explain", "evaluation", "web", "jobs", "machine", "demo", "pipeline", "stages", "method"),
    *("flags", "console", "manifest", "request", "presets", "options", "diffusion", "media", "motion", "reading"),
    *("settings", "events"),
)
"""Every room and every module at the top, from whom nobody imports down to who imports nobody of the house."""
TORCH_FREE = ("request", "settings", "events", "reading", "motion", "media", "jobs", "web")
DEMO_READERS = ("editor.demo", "editor.evaluation", "editor.cli")
"""Who may know the demo world; of the page only the modules that show its words."""


def _imports(path: Path) -> set[str]:
    """Every module that the file names in an import, at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _graph() -> dict[str, set[str]]:
    """Every module with those it imports; `from package import module` names that module and not the package."""
    files = {module.removesuffix(".__init__"): file for module, file in MODULES.items()}
    graph = {}
    for module, file in files.items():
        named = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                named |= {name if name in files else str(node.module) for name in inside}
        graph[module] = named & set(files)
    return graph


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_place():
    assert {_room(module) for module in MODULES} - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    """At the top of a module and inside its functions alike."""
    room = _room(module)
    if room == "__init__":  # the package's own names are resolved on first use, from anywhere
        return
    above = ORDER[: ORDER.index(room)]
    wrong = [name for name in _imports(MODULES[module]) if name.startswith("editor.") and _room(name) in above]
    assert not wrong


def test_no_circle():
    """No module is imported, directly or through others, by one that it imports itself, not even in a function."""
    graph = _graph()
    assert "editor.jobs.files" in graph["editor.jobs.service"] and "editor.jobs.service" in graph["editor.jobs"]
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_nothing_imports_the_page():
    readers = {m for m, p in MODULES.items() if any(n.startswith("editor.web") for n in _imports(p))}
    assert {m for m in readers if _room(m) != "web"} == set()


def test_only_the_kernels_import_xformers():
    users = {m for m, p in MODULES.items() if any(n.split(".")[0] == "xformers" for n in _imports(p))}
    assert users <= {"editor.diffusion.kernels"}


def test_the_demo_world_is_known_to_few():
    readers = {m for m, p in MODULES.items() if any(n.startswith("editor.demo") for n in _imports(p))}
    strangers = {m for m in readers if not m.startswith(DEMO_READERS)}
    assert all(m.startswith("editor.web.") for m in strangers)
    allowed = {"editor.demo.vocabulary", "editor.demo.vocabulary.unknown_words", "editor.demo.vocabulary.GROUPS"}
    allowed |= {"editor.demo.describe", "editor.demo.describe.described"}
    named = {n for m in strangers for n in _imports(MODULES[m]) if n.startswith("editor.demo.")}
    assert named <= allowed


@pytest.mark.parametrize("room", ("", *(room for room in TORCH_FREE if room in map(_room, MODULES))))
def test_rooms_load_without_torch(room):
    module = f"editor.{room}".rstrip(".")
    code = (
        "import importlib, pkgutil, sys\n"
        f"room = importlib.import_module('{module}')\n"
        f"if '{module}' != 'editor' and hasattr(room, '__path__'):\n"
        "    for found in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "        importlib.import_module(found.name)\n"
        "sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("modules", ["editor.jobs, editor.jobs.files", "editor.jobs.worker, editor.jobs.engine"])
def test_a_server_and_its_workers_start_light(modules):
    code = f"import sys, {modules}; sys.stdout.write(' '.join(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "editor" in out.split()
    assert not set(out.split()) & {"torch", "diffusers", "transformers", "xformers", "gradio"}


def test_app_py_is_short():
    assert len((ROOT / "app.py").read_text(encoding="utf-8").splitlines()) <= 30


def test_a_list_of_words_loads_no_pictures():
    code = (
        "import sys, editor.demo.vocabulary\n"
        "sys.exit(bool({'cv2', 'PIL', 'editor.demo.world', 'editor.demo.scenery'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def _pins(name):
    """Name -> version of a requirements file's lines, in lower case."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert all("==" in line for line in lines)
    return {line.split("==")[0].lower(): re.split(r"[ ;\\]", line.split("==")[1])[0] for line in lines}


def test_requirements_are_pinned_and_complete():
    wanted = {"gradio", "torch", "diffusers", "transformers", "accelerate", "moviepy", "pillow", "xformers"}
    wanted |= {"starlette", "uvicorn", "fastapi", "pydantic"}
    runs, tests = _pins("requirements.txt"), _pins("requirements-dev.txt")
    assert wanted <= set(runs)
    assert set(_pins("requirements-mcp.txt")) == {"mcp"} and set(_pins("requirements-cluster.txt")) == {"ray[default]"}
    assert {"pytest", "pytest-xdist", "playwright", "axe-playwright-python", "ruff", "spaces"} == set(tests)


def test_everything_that_runs_is_locked_with_hashes():
    """But for torch, for the reason in the lock's header. The locked versions are those that are pinned."""
    runs, locked = _pins("requirements.txt"), _pins("requirements.lock")
    assert {name: locked.get(name) for name in runs if name != "torch"} == {
        n: v for n, v in runs.items() if n != "torch"
    }
    assert not {"torch", *_pins("requirements-dev.txt")} & set(locked)
    entries = re.split(r"\n(?=[a-z])", (ROOT / "requirements.lock").read_text())[1:]
    assert len(entries) == len(locked) and all("--hash=sha256:" in entry for entry in entries)


def test_files_stay_small_enough_for_spaces():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout, so the tracked files are unknown")
    sizes = {name: (ROOT / name).stat().st_size for name in tracked.stdout.splitlines() if (ROOT / name).is_file()}
    assert max(sizes.values()) < 9_500_000, max(sizes, key=sizes.get)


def test_the_code_is_linted():
    for arguments in (["check", "."], ["format", "--check", "."]):
        outcome = subprocess.run([sys.executable, "-m", "ruff", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stdout
