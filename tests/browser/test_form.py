"""The form: messages at the fields, keyboard alone, phone width, nothing jumps."""

import re

import numpy as np
import pytest

from editor.media import write_video
from editor.request import EditRequest
from tests.web.serving import SOURCE, TARGET, WAITING

PHONE = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True}


def test_messages_stand_at_the_fields(visit):
    visitor = visit()
    page = visitor.open()
    visitor.run()
    page.locator("#source").get_by_text("Say what the clip shows, for example").wait_for()
    page.locator("#targets").get_by_text("Say what it should show instead, for example").wait_for()
    visitor.words(SOURCE, TARGET)
    visitor.run()
    page.get_by_text("Choose a clip first").wait_for()
    visitor.words(SOURCE, "\n".join(f"a car of kind {n}" for n in range(5)))
    visitor.run()
    page.locator("#targets").get_by_text("5 sentences at once is too many; the limit is 4").wait_for()
    visitor.picture("10-messages")


def test_a_setting_that_cannot_be_read_is_marked(visit):
    visitor = visit()
    page = visitor.open()
    visitor.words(SOURCE, TARGET)
    page.get_by_role("button", name="Advanced").click()
    page.wait_for_timeout(1000)  # fields of a part that has just been opened take their first values late
    page.fill("#set-word_weights textarea, #set-word_weights input", "snow")
    page.keyboard.press("Tab")
    visitor.run()
    page.locator("#set-word_weights").get_by_text("is not a word with a strength").wait_for()
    visitor.picture("11-advanced")


@pytest.mark.parametrize(
    ("content", "said"), [(b"not a video", "not a video that can be read"), (b"", "empty|not a video|Please")]
)
def test_an_unusable_upload_is_refused_in_words(visit, tmp_path, content, said):
    visitor = visit()
    page = visitor.open()
    bad = tmp_path / "clip.mp4"
    bad.write_bytes(content)
    page.set_input_files("#upload input[type=file]", str(bad))
    page.locator(f"text=/{said}/").first.wait_for()


def test_presets_fill_the_settings_and_hide_those_without_effect(visit):
    visitor = visit()
    page = visitor.open()
    page.get_by_role("button", name="Advanced").click()
    steps = page.locator("#set-steps input[type=number]")
    assert steps.input_value() == str(EditRequest.from_preset().steps)
    assert not page.locator("#set-null_text_inner_steps").is_visible()
    page.locator("#preset label").nth(2).click()
    page.wait_for_function("document.querySelector('#set-steps input[type=number]').value === '50'")
    page.wait_for_selector("#set-null_text_inner_steps")
    assert visitor.errors == []


def test_a_setting_that_differs_is_marked_and_goes_back_with_one_click(visit):
    visitor = visit()
    page = visitor.open()
    page.get_by_role("button", name="Advanced").click()
    field = page.locator("#set-steps")
    preset = EditRequest.from_preset()
    field.get_by_text(f"Default for this model: {preset.steps}").wait_for()
    assert field.get_attribute("data-differs") is None
    field.locator("input[type=number]").fill("9")
    page.keyboard.press("Tab")
    page.get_by_role("button", name=f"Steps: back to {preset.steps}").click()
    page.wait_for_function(f"document.querySelector('#set-steps input[type=number]').value === '{preset.steps}'")
    page.wait_for_selector("#set-steps:not([data-differs])")
    assert page.locator("#advanced h3").count() == 4
    assert visitor.errors == []


def test_words_of_the_model_can_be_clicked(visit):
    visitor = visit()
    page = visitor.open()
    page.fill("#source textarea, #source input", "a red")
    page.get_by_role("button", name="car", exact=True).click()
    page.get_by_role("button", name="in the snow").click()
    assert page.input_value("#source textarea, #source input") == "a red car in the snow"
    page.fill("#targets textarea", "a blue zeppelin")
    page.get_by_text("does not know “zeppelin”").wait_for()
    assert visitor.errors == []


def test_the_interval_chooses_the_frames(visit, served):
    visitor = visit()
    page = visitor.open()
    visitor.upload(served.clip)
    page.get_by_text("All 16 frames are edited").wait_for()
    until = page.get_by_role("slider", name="End of the interval")
    until.focus()
    for _ in range(10):
        until.press("ArrowLeft")
    page.get_by_text("All 8 frames are edited").wait_for()
    page.get_by_text("0.0 to 1.0 s").wait_for()
    page.get_by_role("button", name="Change clip").click()
    page.wait_for_selector("#upload")
    assert visitor.errors == []


def test_the_interval_of_a_clip_full_of_detail_can_be_moved(visit, tmp_path):
    """Its band of pictures is longer than any text that the server takes."""
    visitor = visit()
    page = visitor.open()
    noise = np.random.default_rng(0).integers(0, 256, (8, 90, 160, 3), dtype=np.uint8)
    write_video(noise, 4.0, tmp_path / "detail.mp4")
    visitor.upload(tmp_path / "detail.mp4")
    film = "getComputedStyle(document.querySelector('.clip-card .band')).getPropertyValue('--film').length"
    assert page.evaluate(film) > 10_000
    until = page.get_by_role("slider", name="End of the interval")
    until.focus()
    for _ in range(10):
        until.press("ArrowLeft")
    page.get_by_text("0.0 to 1.0 s").wait_for()
    page.locator("#used").get_by_text(re.compile(r"\b4 frames")).wait_for()
    assert page.evaluate(film) > 10_000 and visitor.errors == []


def answer_slowly(page):
    """From now on every answer of the server takes two seconds longer."""
    page.evaluate("""() => {
      const direct = window.fetch, wait = () => new Promise((done) => setTimeout(done, 2000));
      window.fetch = async (...asked) => { const answer = await direct(...asked); await wait(); return answer; };
    }""")


def test_the_last_place_of_a_handle_counts_when_answers_are_slow(visit, served):
    """The handle moves on while the server still answers for an earlier place."""
    visitor = visit()
    page = visitor.open()
    visitor.upload(served.clip)
    answer_slowly(page)
    until = page.get_by_role("slider", name="End of the interval")
    until.focus()
    for _ in range(5):
        until.press("ArrowLeft")
    page.wait_for_timeout(600)  # a pause in which the first place is sent
    for _ in range(5):
        until.press("ArrowLeft")
    page.get_by_text("0.0 to 1.0 s").wait_for()
    page.locator("#used").get_by_text(re.compile(r"\b8 frames")).wait_for()
    assert visitor.errors == []


def test_the_last_preset_counts_when_answers_are_slow(visit):
    visitor = visit()
    page = visitor.open()
    page.get_by_role("button", name="Advanced").click()
    answer_slowly(page)
    page.locator("#preset label").nth(2).click()
    page.wait_for_timeout(300)  # the first choice is sent
    page.locator("#preset label").nth(0).click()
    chosen = page.locator("#preset input:checked").get_attribute("value")
    steps = EditRequest.from_preset(chosen).steps
    page.wait_for_function(f"document.querySelector('#set-steps input[type=number]').value === '{steps}'")


def test_the_keyboard_is_enough(visit):
    """From the example to the compared result without a pointer; what has the focus can be seen."""
    visitor = visit()
    page = visitor.open()

    def tab_to(description, find):
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement?.matches({find!r})"):
                outline = page.evaluate(
                    "(() => { const s = getComputedStyle(document.activeElement); "
                    "return s.outlineStyle + s.boxShadow + s.borderColor; })()"
                )
                assert outline, description
                return
        raise AssertionError(f"the {description} cannot be reached with the tab key")

    tab_to("example", "[data-testid=example-0]")
    page.keyboard.press("Enter")
    visitor.see("used")
    visitor.see("estimate")
    tab_to("button", "#run")
    page.keyboard.press("Enter")
    visitor.finished()
    tab_to("compare slider", ".cut")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('.compare').style.getPropertyValue('--cut')") == "52%"
    tab_to("play button", "[data-testid=play]")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.edited').paused")
    assert visitor.errors == []


def test_nothing_jumps_between_form_run_and_result(visit, served):
    visitor = visit()
    page = visitor.open()
    corners = "({x, y, width, height}) => [x, y, width, height]"
    box = f"({corners})(document.querySelector('.screen').getBoundingClientRect())"
    rail = "document.querySelector('.below').getBoundingClientRect().y"
    empty = page.evaluate(box), page.evaluate(rail)
    visitor.upload(served.clip)
    visitor.words(SOURCE, WAITING)
    visitor.run()
    visitor.see("preview")
    running = page.evaluate(box), page.evaluate(rail)
    served.let_go()
    visitor.finished()
    done = page.evaluate(box), page.evaluate(rail)
    assert empty == running == done


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_is_wide_enough(visit, served, scheme):
    visitor = visit(color_scheme=scheme, **PHONE)
    page = visitor.open()

    def fits():
        return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    assert fits()
    visitor.upload(served.clip)
    visitor.words(SOURCE, f"{WAITING}\na green car on the road")
    visitor.see("estimate")
    assert fits()
    visitor.picture(f"12-phone-form-{scheme}")
    visitor.run()
    visitor.see("preview")
    assert fits()
    box = "document.querySelector('.screen').getBoundingClientRect()"
    page.wait_for_function(f"{box}.top >= 0 && {box}.bottom <= window.innerHeight")  # the button brings it into view
    served.let_go()
    visitor.finished()
    assert fits()
    visitor.picture(f"13-phone-done-{scheme}")
    assert visitor.errors == []


def test_text_can_be_read_in_light_and_dark(visit, served):
    """Contrast of the quiet text against the page: at least 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    luminance = """(selector, property) => {
      const c = getComputedStyle(document.querySelector(selector))[property].match(/[\\d.]+/g).slice(0, 3).map(Number);
      const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b; }"""
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme).open()
        call = f"([s, p]) => ({luminance})(s, p)"
        pairs = [
            (page.evaluate(call, [text, "color"]), page.evaluate(call, [ground, "backgroundColor"]))
            for text, ground in (("#header p", "body"), (".history .none", "body"), ("#run", "#run"))
        ]
        for pair in pairs:
            low, high = sorted(pair)
            assert (high + 0.05) / (low + 0.05) >= 4.5, scheme
