"""A real browser on a running app. Without Chromium these tests are skipped by name."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from editor.jobs import temporary_folder
from editor.settings import ROOT
from tests.web.serving import Served, serving

ARTEFACTS = ROOT / "artefacts"
"""Screenshots of the last run."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60_000
"""Milliseconds until something that must appear is given up; a busy machine is slow to draw."""
FOREIGN = "recast-abc123.gradio.live"
"""A host name that leads to this machine, as a share link does."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")  # no longer: its event loop stays in the main thread and refuses everybody else's
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("Chromium is not installed (`make chromium` does that on Debian and Ubuntu, as root)")
    with sync_api.sync_playwright() as play:
        rules = f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox", rules])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def served(chromium, tmp_path_factory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("browser"), allowed_hosts=(FOREIGN,)) as app:
        yield app


class Visitor:
    """One person: a fresh browser context with one page, and what went wrong in it."""

    def __init__(self, chromium, url, **options):
        self.url = url
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", lambda r: self.errors.append(f"{r.status} {r.url}") if r.status >= 400 else None)

    def _asked(self, request):
        """The page is whole by itself: it asks no other server for anything."""
        if urlsplit(request.url).hostname not in (None, "127.0.0.1", FOREIGN):
            self.errors.append(f"asked another server: {request.url}")

    def open(self, path="/"):
        self.page.goto(self.url + path)
        self.page.wait_for_selector(".stage", state="attached")
        self.page.wait_for_function("document.querySelector('.stage').dataset.state !== undefined")
        return self.page

    def upload(self, clip):
        self.page.set_input_files("#upload input[type=file]", str(clip))
        self.see("used")

    def words(self, source, targets):
        self.page.fill("#source textarea, #source input", source)
        self.page.fill("#targets textarea", targets)

    def run(self):
        self.page.click("#run")

    def see(self, name):
        return self.page.wait_for_selector(f"[data-testid={name}]")

    def find(self, name):
        return self.page.locator(f"[data-testid={name}]")

    def finished(self):
        """Wait for the result: both videos have pictures to show."""
        self.see("edited")
        ready = "n => [...document.querySelectorAll('.compare video')].filter(v => v.readyState >= 3).length === 2"
        self.page.wait_for_function(ready)

    def picture(self, name, full=True):
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(ARTEFACTS / f"{name}.png"), full_page=full)


@pytest.fixture
def visit(chromium, served, monkeypatch):
    """Makes visitors: `visit()`, `visit(color_scheme="dark")`, `visit(host=...)`."""
    visitors = []
    # A second app of this process has made Gradio take uploads in its folder only.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(temporary_folder(served.app.settings)))
    served.hold()

    def new(host="127.0.0.1", **options):
        visitors.append(Visitor(chromium, served.url.replace("127.0.0.1", host), **options))
        return visitors[-1]

    yield new
    served.let_go()  # no edit of this test stands in the way of the next
    for visitor in visitors:
        visitor.context.close()
