"""From a clip to a shared link, as a person with a mouse does it; and the same with the built-in model."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from editor.diffusion.catalog import present
from editor.jobs.service import ENGINE
from tests.browser.conftest import FOREIGN, Visitor
from tests.web.serving import SOURCE, TARGET, WAITING, serving

TIMES = "[...document.querySelectorAll('.compare video')].map(v => v.currentTime)"


def previews_seen(visitor, wanted=2):
    """Addresses of previews as they come, until there are `wanted` different ones."""
    visitor.see("preview")
    look = """wanted => {
      window.seenPreviews ??= new Set();
      const src = document.querySelector('.preview')?.src;
      if (src) window.seenPreviews.add(src);
      return window.seenPreviews.size >= wanted; }"""
    visitor.page.wait_for_function(look, arg=wanted, polling=100)


def test_upload_run_watch_compare(visit, served):
    visitor = visit()
    page = visitor.open()
    visitor.picture("1-empty")
    visitor.upload(served.clip)
    visitor.words(SOURCE, WAITING)
    visitor.see("estimate")
    page.wait_for_selector("#advice ins")
    assert "blue" in page.inner_text("#advice ins >> nth=0")
    visitor.picture("2-form")
    visitor.run()
    visitor.see("status")
    previews_seen(visitor, 3)
    visitor.picture("3-running")
    width = "parseFloat(document.querySelector('.bar span').style.inlineSize)"
    first = page.evaluate(width)
    served.let_go()
    page.wait_for_function(f"parseFloat(document.querySelector('.bar span')?.style.inlineSize ?? 100) > {first}")
    visitor.finished()
    page.wait_for_function(f"{TIMES}.every(t => t > 0.2)")  # both play
    page.click("[data-testid=play]")
    page.wait_for_function("[...document.querySelectorAll('.compare video')].every(v => v.paused && !v.seeking)")
    original, edited = page.evaluate(TIMES)
    assert abs(original - edited) < 1 / 30  # one frame of a fast clip: both stand at the same picture
    visitor.picture("4-done")
    for name in ("Side by side", "Frames"):
        page.get_by_role("group", name="View").get_by_role("button", name=name).click()
        page.wait_for_timeout(500)
        visitor.picture(f"5-{name.lower().replace(' ', '-')}", full=False)
    assert visitor.errors == []


def test_reloading_in_the_middle_loses_nothing(visit, served):
    visitor = visit()
    page = visitor.open()
    visitor.upload(served.clip)
    visitor.words(SOURCE, WAITING)
    visitor.run()
    visitor.see("preview")
    assert "?job=" in page.url
    page.reload()
    visitor.see("status")
    page.goto(visitor.url)  # also without the address: the visitor's running edit comes back
    visitor.see("status")
    served.let_go()
    visitor.finished()
    assert page.locator(".history li").count() == 1


def test_a_link_shows_the_edit_to_anybody_and_only_shows_it(visit, served):
    owner = visit()
    owner.open()
    owner.upload(served.clip)
    owner.words(SOURCE, WAITING)
    owner.run()
    owner.see("status")
    owner.find("copy-link").click()
    link = owner.page.evaluate("navigator.clipboard.readText()")
    assert link == owner.page.url

    guest = visit()
    page = guest.open(link.removeprefix(guest.url))
    guest.see("status")  # it still runs, and the guest watches
    assert not guest.find("stop").is_visible()
    assert not page.locator("#form").is_visible()
    served.let_go()
    guest.finished()
    assert page.get_by_text("Someone shared this edit with you.").is_visible()
    recipe = page.inner_text(".recipe")
    assert SOURCE in recipe and WAITING in recipe and "Balanced" in recipe
    guest.picture("6-shared")
    guest.find("again").click()
    page.wait_for_selector("#clip video")
    assert page.locator("#form").is_visible() and page.input_value("#source textarea, #source input") == SOURCE
    assert guest.errors == []


def test_a_share_links_foreign_host_works(visit, served):
    visitor = visit(host=FOREIGN)
    visitor.open()
    visitor.upload(served.clip)
    visitor.words(SOURCE, TARGET)
    visitor.run()
    visitor.finished()
    visitor.find("copy-link").click()
    # Without https there is no clipboard: the page shows the link instead, and that is the one to look at.
    assert visitor.page.url.startswith(f"http://{FOREIGN}")
    view = visitor.page.evaluate("document.querySelector('[data-testid=edited]').src")
    assert view.startswith(f"http://{FOREIGN}")
    assert visitor.errors == []


def test_stop_ends_within_a_step(visit, served):
    visitor = visit()
    visitor.open()
    visitor.upload(served.clip)
    visitor.words(SOURCE, WAITING)
    visitor.run()
    visitor.see("preview")
    visitor.find("stop").click()
    assert "Stopped" in visitor.see("notice").inner_text()
    assert visitor.errors == []


def test_a_failure_says_what_to_do(visit, served):
    visitor = visit()
    visitor.open()
    visitor.upload(served.clip)
    visitor.words(SOURCE, "a blue car that fails")
    visitor.run()
    assert "The colours ran out. Try a shorter clip." in visitor.see("notice").inner_text()
    visitor.picture("7-failed", full=False)


def test_several_targets_stand_side_by_side(visit, served):
    visitor = visit(color_scheme="dark")
    page = visitor.open()
    visitor.upload(served.clip)
    visitor.words(SOURCE, f"{TARGET}\na green car on the road")
    page.get_by_role("button", name="Make 2 edits").click()
    visitor.finished()
    first = visitor.find("edited").get_attribute("src")
    page.get_by_role("group", name="Results").get_by_role("button").nth(1).click()
    assert visitor.find("edited").get_attribute("src") != first
    page.get_by_role("button", name="All results").click()
    assert page.locator(".all video").count() == 3  # the original is among them
    page.wait_for_function("[...document.querySelectorAll('.all video')].every(v => v.readyState >= 2)")
    visitor.picture("8-several-dark", full=False)
    assert visitor.errors == []


def test_edits_are_kept_opened_made_again_and_deleted(visit, served):
    visitor = visit()
    page = visitor.open()
    visitor.upload(served.clip)
    visitor.words(SOURCE, TARGET)
    visitor.run()
    visitor.finished()
    page.goto(visitor.url)
    visitor.find("history-open").click()
    visitor.finished()
    page.locator(".history").get_by_role("button", name="Edit again").click()
    page.wait_for_selector("#clip video")
    page.get_by_text("the earlier inversion is reused").wait_for()
    page.fill("#source textarea, #source input", "a red bus on the road")
    page.get_by_text("the earlier inversion is reused").wait_for(state="hidden")
    page.get_by_role("button", name="Delete this edit").click()
    page.get_by_text("Really?").click()
    page.get_by_text("Nothing yet.").wait_for()
    assert page.locator(".empty").is_visible()
    assert visitor.errors == []


def test_who_comes_second_is_told_the_place_in_the_line(visit, served):
    first, second = visit(), visit()
    for visitor in (first, second):
        visitor.open()
        visitor.upload(served.clip)
        visitor.words(SOURCE, WAITING)
        visitor.run()
        visitor.see("status")
    assert "Next in line" in second.see("status").inner_text()
    second.picture("9-waiting", full=False)
    for visitor in (second, first):
        visitor.find("stop").click()
        visitor.see("notice")


@pytest.mark.parametrize("link", ["/?job=00000000000000000000000000000000", "/?job=../../etc/passwd", "/?job=<b>"])
def test_a_dead_link_says_so(visit, link):
    visitor = visit()
    visitor.open(link)
    assert "no longer kept" in visitor.see("notice").inner_text()


@pytest.mark.skipif(not present("demo"), reason="the built-in model is not in assets/demo_model")
def test_a_red_car_becomes_blue(chromium, tmp_path):
    from editor.web.examples import FOLDER

    with serving(tmp_path, engine=ENGINE, shelf=FOLDER) as served:
        visitor = Visitor(chromium, served.url)
        page = visitor.open()
        index = next(i for i, e in enumerate(served.app.desk.examples) if e.targets[0].startswith("a blue car"))
        page.set_default_timeout(600_000)  # loading torch and the model on a busy machine takes minutes
        visitor.find(f"example-{index}").click()
        visitor.see("estimate")
        page.locator("#preset label").nth(0).click()
        visitor.run()
        visitor.see("preview")
        visitor.picture("14-built-in-running")
        visitor.finished()
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(500)
        visitor.picture("15-built-in-done", full=False)  # the picture in the README is one of these
        view = httpx.get(f"{served.url}/job/{page.url.split('job=')[1]}/view.json").json()
        poster = Image.open(io.BytesIO(httpx.get(f"{served.url}/{view['results'][0]['poster']}").content))
        assert bluer(np.asarray(poster.convert("RGB"))) > bluer(np.asarray(original(served, index)))
        assert visitor.errors == []
        visitor.context.close()


def original(served, index):
    return Image.open(io.BytesIO(served.app.desk.examples[index].poster())).convert("RGB")


def bluer(picture):
    """Share of strongly blue pixels less the share of strongly red ones; the sky is pale and counts little."""
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    return np.mean((blue > red + 60) & (blue > green + 40)) - np.mean((red > blue + 60) & (red > green + 60))
