"""How the app is launched, and what it keeps from whom."""

import io
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from editor.events import EditError
from editor.jobs import JobService, new_secret
from editor.manifest import STATEMENT, read_settings, tag_text
from editor.media import video_gif, write_video
from editor.media.tag import tag_video
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
        assert "Recast" in get(served.url, headers=headers).text
        assert get(f"{served.url}/healthz", headers=headers).status_code == 200
        config = get(f"{served.url}/config", headers=headers).json()
    assert config["root"] == "https://abc.gradio.live"


def test_a_foreign_host_that_nobody_allowed_gets_a_sentence(served):
    answer = get(served.url, headers={"Host": "abc.example"})
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
    assert "fonts.googleapis.com" not in get(f"{served.url}/theme.css").text
    assert "@font-face" not in get(f"{served.url}/theme.css").text


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


def test_a_page_speaks_the_language_of_its_visitor(served):
    """The page, what it asks for by itself, and an event of the queue."""
    job = served.finished()
    german, other = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}, {"Accept-Language": "en,de;q=0.5"}
    configs = {}
    for code, headers in (("de", german), ("en", other), ("en", {"Accept-Language": "\x01?;q=x"})):
        page = get(served.url, headers=headers)
        assert f'lang="{code}"' in page.text and page.headers["vary"] == "Accept-Language"
        config = configs[code] = get(f"{served.url}/config", headers=headers).json()
        run = next(c for c in config["components"] if c["props"].get("elem_id") == "run")
        assert run["props"]["value"] == {"de": "Clip bearbeiten", "en": "Make the edit"}[code]
        view = get(f"{served.url}/job/{job}/view.json", headers=headers).json()
        assert view["title"] == {"de": "Fertig", "en": "Done"}[code]
    assert [(c["id"], c["type"]) for c in configs["de"]["components"]] == [
        (c["id"], c["type"]) for c in configs["en"]["components"]
    ]
    assert 'lang="en"' in get(served.url).text  # httpx names no language
    for headers, said in ((german, "Diese Bearbeitung gibt es hier nicht."), (other, "There is no such edit here.")):
        with pytest.raises(Exception, match=said):
            Client(served.url, headers=headers, verbose=False).predict("0" * 32, "x" * 43, api_name="/cancel")


class Head(HTMLParser):
    """Reads a page as a social site does: the meta tags by name."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts = {}, 0
        self.feed(page.partition("</head>")[0])

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "meta" and "content" in given:
            self.tags.setdefault(given.get("property") or given.get("name"), []).append(given["content"])

    def __getitem__(self, name):
        (content,) = self.tags[name]  # each of them once: Gradio's own are gone
        return content


def get(address, **options):
    """A busy machine answers late."""
    return httpx.get(address, timeout=60, **options)


def head_of(served, query=""):
    return Head(get(f"{served.url}/{query}").text)


def test_a_link_says_what_it_shows(served):
    job = served.finished(TARGET, "a green car on the road")
    head = head_of(served, f"?job={job}&view=compare&target=2&t=1.4")
    assert head["og:title"] == head["twitter:title"] == "a green car on the road · Recast"
    assert SOURCE in head["og:description"] and "edited by a model" in head["og:description"]
    assert head["og:url"] == f"{served.url}/?job={job}&target=2" and head["og:type"] == "video.other"
    assert head["twitter:card"] == "summary_large_image" and head["og:image"] == head["twitter:image"]
    picture = get(head["og:image"])
    assert picture.headers["content-type"] == "image/jpeg" and picture.headers["x-content-type-options"] == "nosniff"
    width, height = Image.open(io.BytesIO(picture.content)).size
    assert (width, height) == (1204, 600)  # two square frames and the gap between them
    film = get(head["og:video"])
    assert film.headers["content-type"] == head["og:video:type"] == "video/mp4" and b"ftyp" in film.content[:16]
    assert (head["og:video:width"], head["og:video:height"]) == ("96", "96")


@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "a 'blue' & <b>car</b>", '" onload="x', "x" * 500])
def test_no_sentence_in_a_link_is_markup(served, text):
    page = get(f"{served.url}/?job={served.finished(text)}").text
    head = Head(page)
    assert head["og:title"].removesuffix(" · Recast").rstrip("…") in text
    assert "<script>alert" not in page.partition("</head>")[0] and "<b>car" not in page


@pytest.mark.parametrize(
    "query", ["", "?job=", "?job=" + "0" * 32, "?job=<b>", "?job=../../etc/passwd", "?target=2", "?job=%00"]
)
def test_a_link_to_nothing_shows_the_page(served, query):
    head = head_of(served, query)
    assert head["og:title"].startswith("Recast") and head["og:type"] == "website" and "og:video" not in head.tags
    assert get(head["og:image"]).headers["content-type"] == "image/webp"


@pytest.mark.parametrize("target", ["0", "3", "-1", "x", "9" * 40, "²", ""])
def test_a_link_to_a_target_that_does_not_exist_shows_the_first(served, target):
    head = head_of(served, f"?job={served.finished()}&target={target}")
    assert head["og:title"] == f"{TARGET} · Recast" and "/0/edited.mp4" in head["og:video"]


def test_a_link_does_not_believe_a_referrer(served):
    answer = get(f"{served.url}/?job={served.finished()}", headers={"Referer": "https://evil.example/page"})
    assert "evil.example" not in answer.text.partition("</head>")[0]
    assert int(answer.headers["content-length"]) == len(answer.content) or "content-encoding" in answer.headers


def test_a_result_is_a_small_gif_that_opens_in_the_form_again(served, tmp_path):
    job = served.finished(strength="strong")
    (result,) = served.service.view(job).results
    tag_video(result.edited, tag_text(result.read_manifest()), STATEMENT)
    answer = get(f"{served.url}/job/{job}/0/edited.gif")
    assert answer.headers["content-type"] == "image/gif" and len(answer.content) <= 3_000_000
    with Image.open(io.BytesIO(answer.content)) as gif:
        assert gif.n_frames > 10 and gif.size == (96, 96) and gif.info["loop"] == 0
    (tmp_path / "recast.gif").write_bytes(answer.content)
    assert read_settings(tmp_path / "recast.gif").request.strength == "strong"
    assert get(f"{served.url}/job/{job}/7/edited.gif").status_code == 404


def test_a_gif_gets_smaller_until_it_fits(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 120, 200, 3), dtype=np.uint8)
    write_video(noise, 12.0, tmp_path / "noise.mp4")
    whole, small = (video_gif(tmp_path / "noise.mp4", most) for most in (3_000_000, 60_000))
    assert Image.open(io.BytesIO(whole)).size == (200, 120) and len(small) <= 60_000
    assert Image.open(io.BytesIO(small)).width < 200
    with pytest.raises(EditError, match="small enough"):
        video_gif(tmp_path / "noise.mp4", 1000)
