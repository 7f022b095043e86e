"""What is seen without waiting: finished examples, and edits that are in the store already."""

import json
from importlib.resources import files

import pytest

from editor.manifest import STATEMENT, tag_text
from editor.media.region import region_mask
from editor.media.tag import tag_video
from editor.request import EditRequest
from editor.web import texts
from tests.browser.conftest import Visitor
from tests.web.serving import SOURCE, TARGET, WAITING, draw_clip, one_example, serving

MADE = {"on": "2026-11-27", "model": "demo", "preset": "balanced", "summary": {"frames": 16, "seconds": 9.0}}


@pytest.fixture(scope="module")
def shop(chromium, tmp_path_factory):
    """An app whose example has a finished edit."""
    folder = tmp_path_factory.mktemp("shop")
    shelf = one_example(folder / "examples", edited="edited.mp4", made=MADE)
    draw_clip(shelf / "edited.mp4")
    with serving(folder, shelf=shelf) as served:
        yield served


@pytest.mark.parametrize("width", [1280, 390])
def test_a_finished_example_plays_at_first_sight_and_is_made_again(chromium, shop, width):
    visitor = Visitor(chromium, shop.url, viewport={"width": width, "height": 844})
    page = visitor.open()
    visitor.finished()
    page.wait_for_function("document.querySelector('.edited').currentTime > 0.1")
    assert page.evaluate("document.querySelector('.screen').getBoundingClientRect().bottom < innerHeight")
    assert "Made earlier, on 27 November 2026" in visitor.find("made").inner_text()
    assert page.input_value("#targets textarea") == ""
    visitor.find("example-0").click()
    visitor.see("used")
    assert (page.input_value("#source textarea, #source input"), page.input_value("#targets textarea")) == (
        SOURCE,
        TARGET,
    )
    visitor.picture(f"16-example-{width}")
    visitor.find("make-again").click()
    visitor.see("copy-link")
    page.wait_for_function("document.querySelector('.stage').dataset.state === 'done'")
    assert "?job=" in page.url and page.locator(".history li").count() >= 1
    assert visitor.errors == []
    visitor.context.close()


SAID = """() => [...document.querySelectorAll("body *:not(script, style)")].flatMap((node) => [
  ...[...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data.trim()),
  ...["aria-label", "title", "alt", "placeholder"].map((name) => node.getAttribute(name)),
]).filter(Boolean)"""
"""All that a page says, also to a screen reader."""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_german_browser_gets_a_german_page(chromium, shop, width):
    visitor = Visitor(chromium, shop.url, viewport={"width": width, "height": 844}, locale="de-DE")
    page = visitor.open()
    words = texts.LANGUAGES["de"]["page"]
    english = {sentence for sentence, told in words.items() if sentence != told}

    def check(*sentences):
        """These are on the page, none in English is, and nothing is wider than the window."""
        said = page.evaluate(SAID)
        assert set(sentences) <= set(said)
        assert not english & set(said)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert page.evaluate("[document.documentElement.lang, document.title]") == ["de", words[texts.PAGE_TITLE]]
    assert "Vorab am 27.11.2026" in visitor.see("made").inner_text()
    drop = "getComputedStyle(document.querySelector('#upload [data-testid=upload-text]'), '::after').content"
    assert "Clip hierher ziehen" in page.evaluate(drop)
    page.get_by_role("button", name="Clip bearbeiten").wait_for()
    check("Was der Clip zeigt (auf Englisch)", "Qualität", "Ausgewogen", "Stärke", "Clip bearbeiten", "Zeit")
    visitor.run()
    page.locator("#targets").get_by_text("Hier fehlt auf Englisch, was er stattdessen zeigen soll").wait_for()
    visitor.errors.clear()  # the refusal itself
    page.get_by_role("button", name="Erweitert").click()
    page.locator("#set-steps").get_by_text("Vorgabe für dieses Modell").wait_for()
    check("Wie stark die Worte wirken", "Führungsstärke", "Karten der Quelle", "Schritte der Entrauschung.")
    visitor.upload(shop.clip)
    visitor.words(SOURCE, f"{TARGET}\na green car on the road")
    page.locator("#advice").get_by_text("Formen werden in allen Schritten gehalten").first.wait_for()
    page.get_by_role("button", name="2 Fassungen erstellen").click()
    visitor.see("copy-link")
    page.wait_for_function("document.querySelector('.stage').dataset.state === 'done'")
    for name in ("Einzelbilder", "Alle", "Vergleich"):
        page.get_by_role("group", name="Ansicht").get_by_role("button", name=name).click()
        check("Herunterladen", "Link kopieren", "Näher am Clip", "so ruhig wie der Clip", "gerade eben")
    visitor.picture(f"17-german-{width}")
    assert visitor.errors == []
    visitor.context.close()


DROP = """([name, bytes]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
}"""


def test_the_settings_of_an_edit_are_dropped_on_the_page(visit, served, tmp_path):
    visitor = visit()
    page = visitor.open()
    asked = EditRequest.from_preset("fast", source=SOURCE, targets=("a <b>green</b> car",), strength="strong").to_dict()
    manifest = json.dumps({"manifest": 2, "request": {**asked, "steps": 9999, "<i>x</i>": 1}})
    page.evaluate(DROP, ["manifest.json", list(manifest.encode())])
    page.locator("#recalled li").first.wait_for()
    said = page.locator("#recalled li").all_inner_texts()
    assert any("version 2" in line for line in said) and any("steps is 9999" in line for line in said)
    assert any("“<i>x</i>” is no setting" in line for line in said) and len(said) == 3
    assert page.input_value("#targets textarea") == "a <b>green</b> car"
    assert page.locator("#preset input:checked").get_attribute("value") == "fast"
    assert page.locator("#strength input:checked").get_attribute("value") == "strong"

    visitor.upload(served.clip)
    edited = tmp_path / "edited.mp4"
    edited.write_bytes(served.clip.read_bytes())
    tag_video(edited, tag_text({"manifest": 1, "request": {**asked, "targets": ["a cow"]}}), STATEMENT)
    page.evaluate(DROP, ["edited.mp4", list(edited.read_bytes())])  # a clip is there, so this brings settings alone
    page.get_by_text("The form has the settings of that edit.").wait_for()
    assert page.input_value("#targets textarea") == "a cow" and page.locator("#clip .name").inner_text() == "clip.mp4"
    assert visitor.errors == []


def test_a_link_opens_just_what_it_names(visit, served):
    job = served.finished(TARGET, "a green car on the road")
    visitor = visit()
    page = visitor.open(f"/?job={job}&view=compare&target=2&t=1.4")
    visitor.finished()
    assert f"/job/{job}/1/edited.mp4" in visitor.find("edited").get_attribute("src")
    page.wait_for_function("Math.abs(document.querySelector('.edited').currentTime - 1.4) < 0.01")
    assert page.evaluate("document.querySelector('.edited').paused")
    page.keyboard.press("Tab")
    page.locator(".screen").focus()
    page.keyboard.press(".")  # a frame further, of eight a second
    page.wait_for_function("Math.abs(document.querySelector('.edited').currentTime - 1.5625) < 0.01")
    visitor.find("copy-link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url and link.endswith(f"?job={job}&target=2&t=1.56")
    page.keyboard.press("Space")
    page.get_by_role("button", name="All results").click()
    assert "view=all" in page.url
    page.wait_for_function("[...document.querySelectorAll('.all video')].every((v) => v.readyState >= 3 && !v.paused)")
    visitor.find("play").click()
    times = page.evaluate("[...document.querySelectorAll('.all video')].map((v) => v.currentTime)")
    assert len(times) == 3 and max(times) - min(times) < 0.05
    assert visitor.errors == []


def test_a_link_to_what_is_not_there_says_so_and_shows_the_rest(visit, served):
    visitor = visit()
    page = visitor.open(f"/?job={served.finished()}&view=<b>&target=7&t=soon")
    visitor.finished()
    said = visitor.see("astray").inner_text()
    assert "result 7" in said and "“<b>”" in said and "“soon”" in said
    page.goto(f"{visitor.url}/?job={'0' * 32}")
    assert "no longer kept" in visitor.see("notice").inner_text()
    visitor.find("afresh").click()
    page.wait_for_selector(".stage[data-state=empty]")
    assert page.url.rstrip("/") == visitor.url and page.locator("#form").is_visible()


def test_a_result_is_pushed_pulled_back_and_said_otherwise(visit, served, monkeypatch):
    owner = "o" * 43
    monkeypatch.setattr("editor.web.clicks.new_secret", lambda: owner)
    gentle, normal = (served.finished(WAITING, owner=owner, strength=name) for name in ("gentle", "normal"))
    visitor = visit()
    page = visitor.open(f"/?job={normal}")
    visitor.finished()
    page.get_by_role("group", name="Strengths made so far").get_by_role("button", name="Gentle").click()
    page.wait_for_url(f"**/?job={gentle}")
    assert not visitor.find("closer").is_visible()
    page.get_by_role("button", name="Normal").click()
    page.wait_for_url(f"**/?job={normal}")
    visitor.find("again").click()
    page.wait_for_function("document.activeElement.matches('#targets textarea')")
    assert page.input_value("#targets textarea") == WAITING
    visitor.find("stronger").click()
    visitor.see("status")
    job = page.url.split("job=")[1]
    assert served.service.view(job).request["strength"] == "strong" and job not in (gentle, normal)
    visitor.find("stop").click()
    visitor.see("notice")
    assert visitor.errors == []


def test_a_gif_is_saved_where_it_cannot_be_copied(visit, served):
    visitor = visit()
    page = visitor.open(f"/?job={served.finished()}")
    visitor.finished()
    with page.expect_download() as saved:
        visitor.find("copy-gif").click()
    assert saved.value.suggested_filename == "recast.gif"
    visitor.find("copy-gif").get_by_text("GIF saved").wait_for()
    assert visitor.errors == []


SEVERE = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const why = (node) => `${node.target.join(" ")} | ${node.any.map((check) => check.message).join("; ")}`;
  return found.violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) =>
    `${v.id}: ${v.nodes.slice(0, 4).map(why).join(" ## ")}`);
}"""


def severe(page):
    """What axe-core finds wrong that would keep people out."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    return page.evaluate(SEVERE)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_nobody_is_kept_out(visit, served, scheme, width):
    """Empty, with the advanced settings open, at work, and with a result."""
    visitor = visit(color_scheme=scheme, viewport={"width": width, "height": 844})
    page = visitor.open()
    found = {"empty": severe(page)}
    visitor.picture(f"20-empty-{scheme}-{width}")
    page.get_by_role("button", name="Advanced").click()
    page.locator("#set-steps .default").wait_for()
    found["advanced"] = severe(page)
    visitor.picture(f"21-advanced-{scheme}-{width}")
    page.get_by_role("button", name="Advanced").click()
    visitor.upload(served.clip)
    visitor.words(SOURCE, WAITING)
    visitor.see("estimate")
    visitor.run()
    visitor.see("preview")
    found["at work"] = severe(page)
    visitor.picture(f"22-running-{scheme}-{width}")
    served.let_go()
    visitor.finished()
    visitor.see("card")
    found["result"] = severe(page)
    visitor.picture(f"23-result-{scheme}-{width}")
    assert not any(found.values()), found
    assert visitor.errors == []


def test_nothing_moves_where_motion_is_unwelcome(chromium, shop):
    visitor = Visitor(chromium, shop.url, reduced_motion="reduce")
    page = visitor.open()
    visitor.finished()
    page.wait_for_timeout(500)
    assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.paused)")
    visitor.context.close()


def test_pointing_at_a_word_shows_where_the_model_looked_for_it(visit, served):
    visitor = visit(has_touch=True)
    page = visitor.open(f"/?job={served.finished(TARGET, word_maps=True)}")
    visitor.finished()
    word, said, after = visitor.find("word"), visitor.find("word-said"), visitor.find("looked-edited")
    assert word.all_inner_texts() == "a red blue car on the road".split()
    level = "document.querySelector('.looked.{}:not([hidden])')?.getContext('2d').getImageData(0, 0, 1, 1).data[1]"

    def shows(text, before, now):
        """Both halves of the frame, by the greens of the two maps; every word has a level of its own."""
        page.wait_for_function(f"{level.format('original')} === {before} && {level.format('edited')} === {now}")
        assert said.inner_text() == f"Where the model looked for “{text}”"

    def shows_nothing():
        after.wait_for(state="hidden")
        assert said.inner_text() == ""

    green = {n: page.evaluate(GREEN, n * 10) for n in (1, 2, 7, 8)}
    word.nth(1).hover()
    shows("red", green[1], green[1])
    word.nth(3).hover()
    shows("car", green[2], green[8])
    visitor.picture("25-word")
    page.keyboard.press("Escape")
    shows_nothing()
    page.mouse.move(5, 5)
    word.nth(1).focus()
    page.keyboard.press("Tab")
    shows("blue", green[7], green[7])
    page.keyboard.press("Escape")
    shows_nothing()
    page.keyboard.press("Shift+Tab")
    shows("red", green[1], green[1])
    page.evaluate("document.activeElement.blur()")
    shows_nothing()
    word.nth(3).tap()
    shows("car", green[2], green[8])
    assert word.nth(3).get_attribute("aria-pressed") == "true"
    word.nth(3).tap()
    shows_nothing()
    assert severe(page) == []
    visitor.open(f"/?job={served.finished(TARGET)}")
    visitor.finished()
    assert word.count() == 0, "nothing to point at without maps"
    assert visitor.errors == []


GREEN = """level => {
  const canvas = document.createElement("canvas"), share = level / 255;
  canvas.width = canvas.height = 1;
  const pixel = new ImageData(new Uint8ClampedArray([20 * share, 184 * share, 166 * share, 150 - 40 * share]), 1);
  canvas.getContext("2d").putImageData(pixel, 0, 0);
  return canvas.getContext("2d").getImageData(0, 0, 1, 1).data[1];
}"""
"""What a canvas gives back of a map's colour: it keeps colours multiplied by their alpha, so it rounds."""


def test_where_the_edit_may_act_is_painted_and_where_it_acted_is_shown(visit, served, monkeypatch):
    owner = "o" * 43
    monkeypatch.setattr("editor.web.clicks.new_secret", lambda: owner)
    visitor = visit()
    page = visitor.open(f"/?job={served.finished(owner=owner)}")
    visitor.finished()
    visitor.find("where-acted").click()
    pixel = "document.querySelector('.acted').getContext('2d').getImageData({}, 0, 1, 1).data[3]"
    page.wait_for_function(f"{pixel.format(0)} === 120 && {pixel.format(1)} === 90")
    visitor.find("again").click()
    page.wait_for_selector("#clip video")
    visitor.find("paint").click()
    box = visitor.find("brush").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    page.keyboard.press("Backspace")
    page.get_by_text("Only where you painted").wait_for()
    visitor.picture("24-painted")
    visitor.find("paint").click()
    visitor.words(SOURCE, WAITING)
    page.wait_for_timeout(600)  # the brush settles, and is sent
    visitor.run()
    visitor.see("stop")
    asked = EditRequest.from_dict(served.service.view(page.url.split("job=")[1]).request)
    mask = region_mask(asked.region)
    assert mask.shape == (160, 160) and mask[80, 50:110].all() and not mask[:60].any() and not mask[100:].any()
    visitor.find("stop").click()
    visitor.see("notice")
    assert visitor.errors == []
