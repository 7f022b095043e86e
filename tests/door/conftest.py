"""A real server process, and visitors with network addresses of their own on the loopback."""

import inspect
import json
import logging
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from editor.jobs import JobService
from editor.settings import ROOT, Settings
from editor.web.app import WebApp
from editor.web.door.limits import Bounds
from tests.web.serving import ENGINE, QUICK, SOURCE, TARGET, draw_clip, free_port, one_example

API = "/gradio_api"
ATTACKER = "127.0.0.66"
ONLOOKER = "127.0.0.77"
PATIENCE = 120.0


@dataclass
class Process:
    """A server process."""

    url: str
    data: Path
    log: Path
    clip: Path
    pid: int
    port: int
    config: dict = field(default_factory=dict)

    def client(self, address: str = ONLOOKER, **options: Any) -> httpx.Client:
        """An HTTP client that comes from `address`, any of 127.0.0.0/8. It never speaks TLS: to read the certificates
        would take longer than most answers."""
        transport = httpx.HTTPTransport(verify=False, local_address=address, limits=httpx.Limits(max_connections=None))
        return httpx.Client(base_url=self.url, transport=transport, **{"timeout": 60.0, **options})

    def connect(self, address: str = ATTACKER) -> socket.socket:
        """A bare connection from `address`."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(address, 0))

    def resident_mb(self) -> float:
        """Main memory of the server process."""
        return psutil.Process(self.pid).memory_info().rss / 1e6

    def cpu_seconds(self) -> float:
        """Processor time of the server process so far: what an attack costs, however busy the machine is."""
        spent = psutil.Process(self.pid).cpu_times()
        return spent.user + spent.system

    def dependency(self, name: str) -> dict:
        """The page's event whose function has this name."""
        return next(d for d in self.config["dependencies"] if d["api_name"] == name)

    def form(self, source: str = SOURCE, targets: str = TARGET, **changes: Any) -> list:
        """The values of the page's form as `describe` and `submit` take them after the chosen clip."""
        describe = self.dependency("describe")
        values = {c["id"]: c["props"].get("value") for c in self.config["components"]}
        names = {c["id"]: c["props"].get("elem_id") for c in self.config["components"]}
        given = {"source": source, "targets": targets, **changes}
        return [given.get(names[i], values[i]) for i in describe["inputs"]]


SERVING = "import sys; from tests.door.conftest import serve; serve(sys.argv[1])"


def serve(told: str) -> None:
    """The page in a process of its own, with settings and bounds as JSON, until its standard input closes."""
    asked = json.loads(told)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    settings = Settings(**{**asked["settings"], "data": Path(asked["settings"]["data"])})
    service = JobService(settings, engine=ENGINE, timing=QUICK).start()
    app = WebApp(service, examples=Path(asked["shelf"]), bounds=Bounds(**asked["bounds"]))
    try:
        app.launch(wait=False)
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        service.stop()


@contextmanager
def server_process(folder: Path, bounds: dict | None = None, **settings: Any) -> Iterator[Process]:
    """Serve the page with the fake engine in a process of its own; what it writes goes to a file."""
    folder.mkdir(exist_ok=True)
    clip, shelf, port = draw_clip(folder / "clip.mp4"), one_example(folder / "examples"), free_port()
    values = {"data": str(folder / "data"), "port": port, "disk_floor_mb": 0, "jobs_per_address": 4, **settings}
    told = json.dumps({"settings": values, "bounds": bounds or {}, "shelf": str(shelf)})
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVING, told],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=out,
        )
    try:
        assert process.stdout.readline() == b"serving\n", log.read_text()
        made = Process(f"http://127.0.0.1:{port}", folder / "data", log, clip, process.pid, port)
        made.config = made.client().get("/config").json()
        yield made
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory) -> Iterator[Process]:
    with server_process(tmp_path_factory.mktemp("door") / "server") as made:
        yield made


def direct(client: httpx.Client, server: Process, name: str, data: list, **more: Any) -> httpx.Response:
    """One unqueued event of the page, posted as the page does."""
    body = {"data": data, "fn_index": server.dependency(name)["id"], "session_hash": more.pop("session", new_session())}
    return client.post(f"{API}/run/predict", json={**body, **more})


def queued(client: httpx.Client, server: Process, name: str, data: list) -> str:
    """One queued event of the page; what was heard until its end, or why it was refused."""
    body = {"data": data, "fn_index": server.dependency(name)["id"], "session_hash": new_session()}
    joined = client.post(f"{API}/queue/join", json=body)
    if joined.status_code != 200:
        return joined.text
    return client.get(f"{API}/queue/data", params={"session_hash": body["session_hash"]}, timeout=PATIENCE).text


def call(client: httpx.Client, name: str, data: list) -> str:
    """One function for programs, called to its end; what was heard."""
    started = client.post(f"{API}/call/{name}", json={"data": data})
    if started.status_code != 200:
        return f"{started.status_code} {started.text}"
    return client.get(f"{API}/call/{name}/{started.json()['event_id']}", timeout=PATIENCE).text


def upload(client: httpx.Client, content: bytes, name: str = "clip.mp4") -> httpx.Response:
    return client.post(f"{API}/upload", files={"files": (name, content, "video/mp4")})


def new_session() -> str:
    return uuid.uuid4().hex[:11]


def ask_again_and_again(port: int, address: str, path: str) -> None:
    """Ask for `path` four times a second until standard input closes; print how long the answers took, and which were
    none. `Clock` runs it in a process of its own, so it imports what it needs itself."""
    import http.client
    import json
    import select
    import sys
    import time

    seconds, failures = [], []
    while not seconds or not select.select([sys.stdin], [], [], 0.25)[0]:
        begun = time.monotonic()
        try:
            wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(address, 0))
            wire.request("GET", path)
            answer = wire.getresponse()
            answer.read()
            if answer.status != 200:
                failures.append(f"{path}: {answer.status}")
            wire.close()
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{path}: {error!r}")
        seconds.append(time.monotonic() - begun)
    sys.stdout.write(json.dumps([seconds, failures]))


class Clock:
    """Asks for the page and `/healthz`, as somebody else, and keeps how long the answers took. It does so outside this
    process, where the threads of an attacker would be in its way."""

    def __init__(self, server: Process) -> None:
        self.server = server
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def __enter__(self) -> "Clock":
        source, pipe = inspect.getsource(ask_again_and_again), subprocess.PIPE
        asked = [f"ask_again_and_again({self.server.port}, {ONLOOKER!r}, {path!r})" for path in ("/healthz", "/")]
        self._processes = [
            subprocess.Popen([sys.executable, "-c", f"{source}\n{ask}"], stdin=pipe, stdout=pipe) for ask in asked
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            seconds, failures = json.loads(process.communicate(timeout=PATIENCE)[0])
            self.seconds += seconds
            self.failures += failures

    def slowest(self, share: float = 0.95) -> float:
        """Seconds within which this share of the answers came."""
        assert not self.failures, self.failures[:3]
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def back_within(server: Process, seconds: float) -> float:
    """Seconds until page and `/healthz` both answer within a second each; fails after `seconds`."""
    begun = time.monotonic()
    while True:
        try:
            with server.client(timeout=1.0) as client:
                if client.get("/healthz").status_code == 200 and client.get("/").status_code == 200:
                    return time.monotonic() - begun
        except httpx.HTTPError:
            pass
        assert time.monotonic() - begun < seconds, "the page did not come back"
        time.sleep(0.1)
