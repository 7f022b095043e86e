"""How the app is launched, and what it keeps from whom."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from gradio_client import Client, handle_file

from editor.jobs import JobService, new_secret
from editor.request import EditRequest
from editor.settings import Settings
from editor.web.app import WebApp
from tests.jobs.conftest import House
from tests.web.serving import ENGINE, SOURCE, TARGET, free_port, serving


@pytest.fixture
def app(tmp_path):
    service = JobService(Settings(data=tmp_path, share=True, max_upload_mb=7), engine=ENGINE)
    yield WebApp(service, examples=tmp_path)
    service.stop()


def test_a_share_link_is_asked_for_only_when_set(app, monkeypatch):
    asked = {}
    monkeypatch.setattr(app.blocks, "launch", lambda **options: asked.update(options) or (None, "http://here", None))
    monkeypatch.setattr(app.blocks, "server", SimpleNamespace(config=SimpleNamespace()), raising=False)
    app.launch(wait=False)
    assert asked["share"] is True and asked["max_file_size"] == "7mb"


def test_gradio_is_told_to_keep_quiet_and_closed(app):
    options = app.options()
    assert options["strict_cors"] and not options["show_error"]
    assert not any(options[name] for name in ("enable_monitoring", "ssr_mode", "run_history"))
    data = str(app.settings.data)
    assert {f"{data}/jobs", f"{data}/jobs.sqlite", f"{data}/inversions"} <= set(options["blocked_paths"])


def test_a_foreign_host_gets_the_page_and_its_own_link(tmp_path):
    """As behind a share link: the tunnel, which ends on this machine, hands on the host that the visitor asked for."""
    headers = {"Host": "abc.gradio.live", "X-Forwarded-Host": "abc.gradio.live", "X-Forwarded-Proto": "https"}
    with serving(tmp_path, allowed_hosts=("abc.gradio.live",), trusted_proxies=("127.0.0.1",)) as served:
        assert "Recast" in httpx.get(served.url, headers=headers).text
        assert httpx.get(f"{served.url}/healthz", headers=headers).status_code == 200
        config = httpx.get(f"{served.url}/config", headers=headers).json()
    assert config["root"] == "https://abc.gradio.live"


def test_a_foreign_host_that_nobody_allowed_gets_a_sentence(served):
    answer = httpx.get(served.url, headers={"Host": "abc.example"})
    assert answer.status_code == 403 and "EDITOR_ALLOWED_HOSTS" in answer.json()["error"]


def test_prometheus_is_told_only_where_that_is_set(served):
    assert httpx.get(f"{served.url}/metrics").status_code == 404


def test_prometheus_is_told_what_was_done(tmp_path):
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: run make setup")
    with serving(tmp_path, metrics="on") as served:
        request = EditRequest.from_preset("fast", source=SOURCE, targets=(TARGET, "it fails"), steps=4)
        jobs = [
            served.service.submit(served.clip, replace(request, targets=request.targets[:count]), "o" * 40)
            for count in (1, 2)
        ]
        deadline = time.monotonic() + 120
        while not all(served.service.view(job.id).state.final for job in jobs):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        answer = httpx.get(f"{served.url}/metrics")
        foreign = httpx.get(f"{served.url}/metrics", headers={"Host": "abc.example"})
    assert foreign.status_code == 403
    assert answer.headers["content-type"].startswith("text/plain") and answer.headers["cache-control"] == "no-store"
    told = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    figures = {
        'recast_runs_total{how="done"}': 1.0,
        'recast_runs_total{how="failed"}': 1.0,
        'recast_jobs{state="running"}': 0.0,
        'recast_device_busy{device="device"}': 0.0,
        'recast_frames_total{kind="written"}': 16.0,
    }
    assert {name: float(told[name]) for name in figures} == figures
    assert float(told['recast_device_seconds_total{device="device"}']) > 0
    assert float(told["recast_unet_evaluations_total"]) == 4.0 * 4 * 16
    assert float(told['recast_disk_bytes{what="jobs"}']) > 1000
    assert "blue car" not in answer.text


def test_an_edit_runs_inside_its_visitors_event_where_devices_are_lent(tmp_path):
    pytest.importorskip("spaces", reason="spaces is not installed: pip install spaces")
    with serving(tmp_path, executor="zerogpu") as served:
        client = Client(served.url, verbose=False)
        answer = client.predict(
            handle_file(str(served.clip)), SOURCE, [TARGET], "fast", {"steps": 4}, api_name="/submit"
        )
        assert served.service.view(answer["job"]).state == "queued", "nobody follows it yet"
        seen = list(client.submit(answer["job"], api_name="/follow"))
        assert seen[-1]["state"] == "done" and any(view["preview"] for view in seen)
        assert httpx.get(f"{served.url}/healthz").json()["workers"] == [{"device": "zerogpu", "state": "idle"}]
        events = served.app.blocks.get_config_file()["dependencies"]
    assert sum(event["api_name"] == "compute" or event["api_name"].startswith("compute_") for event in events) == 2


@pytest.mark.slow
def test_two_hundred_edits_of_fifty_visitors(tmp_path):
    """None lost, none twice, every visitor once a round; and the page answers while both devices work."""
    house = House(tmp_path)
    service = house.service(devices=("cpu:2",), queue_size=200, jobs_per_address=200)
    service.settings = replace(service.settings, port=free_port())
    app = WebApp(service, examples=house.data)
    service.admit = lambda request, frames: None
    url = app.launch(wait=False)
    visitors = [new_secret() for _ in range(50)]

    def ask(owner):
        return [house.submit(service, "steps=5 pause=0.1", owner).id for _ in range(4)]

    try:
        with ThreadPoolExecutor(50) as crowd:
            asked = dict(zip(visitors, crowd.map(ask, visitors), strict=True))
        service.start()
        jobs = {job: owner for owner, mine in asked.items() for job in mine}
        assert len(jobs) == 200
        answers, deadline = [], time.monotonic() + 900
        while service.health().queued + service.health().running:
            assert time.monotonic() < deadline
            job = random.Random(len(answers)).choice(list(jobs))
            for path in ("", "healthz", f"job/{job}/view.json"):
                began = time.monotonic()
                assert httpx.get(f"{url}{path}", timeout=30).status_code == 200
                answers.append(time.monotonic() - began)
        views = [service.view(job) for job in jobs]
    finally:
        app.blocks.close(verbose=False)
        house.close()
    assert {str(view.state) for view in views} == {"done"}
    assert sorted(job for word, job in house.on_device() if word == "begin") == sorted(jobs), "each ran once"
    order = [jobs[view.id] for view in sorted(views, key=lambda view: view.started)]
    rounds = [set(order[n : n + 50]) for n in range(0, 200, 50)]
    assert all(len(once) == 50 for once in rounds), "rotation"
    assert {view.device for view in views} == {"cpu:0", "cpu:1"}
    assert sorted(answers)[int(0.95 * len(answers))] < 1.0


def test_fonts_come_from_the_visitors_own_machine(served):
    assert "fonts.googleapis.com" not in httpx.get(f"{served.url}/theme.css").text
    assert "@font-face" not in httpx.get(f"{served.url}/theme.css").text


def test_models_are_those_the_installation_allows(tmp_path):
    settings = Settings(data=tmp_path, model="sd15", models=("demo",))
    service = JobService(settings, engine=ENGINE)
    try:
        config = WebApp(service, examples=tmp_path).blocks.get_config_file()
    finally:
        service.stop()
    model = next(c for c in config["components"] if c["props"].get("elem_id") == "model")
    assert [value for _, value in model["props"]["choices"]] == ["sd15", "demo"]
    chips = next(c for c in config["components"] if c["props"].get("elem_id") == "chips")
    assert chips["props"]["visible"] is False  # the words of the built-in model are no help with another
