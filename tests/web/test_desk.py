"""What the page does with clips, words and earlier edits, without a page."""

import json
from dataclasses import replace

import pytest

from editor.events import EditError
from editor.jobs import JobService, upload_folder
from editor.request import EditRequest
from editor.settings import Settings
from editor.web import texts
from editor.web.desk import Desk
from editor.web.estimate import Pace
from editor.web.examples import load_examples
from tests.web.serving import ENGINE, SOURCE, TARGET, draw_clip

PLAIN = EditRequest.from_preset(source=texts.SOURCE_HINT, targets=(texts.TARGETS_HINT,))
REQUEST = EditRequest.from_preset("fast", source=SOURCE, targets=(TARGET,))


@pytest.fixture
def desk(tmp_path):
    draw_clip(tmp_path / "square.mp4")
    row = {"file": "square.mp4", "title": "A square", "source": SOURCE, "targets": [TARGET]}
    lost = {**row, "file": "lost.mp4"}
    (tmp_path / "examples.json").write_text(json.dumps([row, lost]))
    service = JobService(Settings(data=tmp_path / "data", disk_floor_mb=0), engine=ENGINE)
    yield Desk(service, Pace(tmp_path), load_examples(tmp_path))
    service.stop()


@pytest.fixture
def raw(desk):
    """Where an upload of this name would be."""
    folder = upload_folder(desk.settings) / "0a1b"
    folder.mkdir(parents=True)
    return folder / "mine.mp4"


def test_an_upload_is_normalised_and_the_raw_file_goes(desk, raw):
    draw_clip(raw, frames=40)
    desk.pace.learn("job", PLAIN, 8, 1.0, False)
    chosen = desk.take_upload(str(raw))
    assert not raw.exists() and chosen.path.is_file() and chosen.name == "mine.mp4"
    assert (chosen.start, chosen.end, chosen.info.seconds) == (0.0, 5.0, 5.0) and not chosen.info.notes


def test_of_a_clip_that_takes_too_long_as_much_is_taken_as_takes_two_minutes(desk, raw):
    draw_clip(raw, frames=40)
    desk.pace.learn("job", PLAIN, 8, 48.0, False)
    chosen = desk.take_upload(str(raw))
    assert 1.5 < chosen.end < 2.5, "20 keyframes of 6 s each, which grow with their number"
    cost, _ = desk.cost(replace(chosen, end=chosen.end - 0.1), PLAIN)
    assert 90 < cost.seconds <= 120
    assert (
        f"The first {chosen.end:.3g} s of 5 s are chosen, as much as takes about two minutes here"
        in chosen.info.notes[-1]
    )


def test_a_bad_upload_leaves_nothing_behind(desk, raw):
    raw.write_bytes(b"nothing")
    with pytest.raises(EditError):
        desk.take_upload(str(raw))
    assert not [path for path in (desk.settings.data / "tmp").rglob("*") if path.is_file()]
    assert not raw.parent.exists()


def test_only_an_upload_is_taken_as_one(desk, tmp_path):
    draw_clip(tmp_path / "mine.mp4")
    chosen, _ = desk.take_example(0)
    for path in (tmp_path / "mine.mp4", chosen.path):  # not even a clip that is in somebody's form
        with pytest.raises(EditError, match="uploaded here"):
            desk.take_upload(str(path))
        assert path.is_file()


def test_examples_that_are_missing_are_not_offered(desk):
    assert [e.title for e in desk.examples] == ["A square"]
    with pytest.raises(EditError):
        desk.take_example(1)
    with pytest.raises(EditError):
        desk.take_example(-1)


def test_no_examples_at_all_are_no_error(tmp_path):
    assert load_examples(tmp_path) == ()


def test_the_used_frames_are_those_of_the_interval(desk):
    chosen, _ = desk.take_example(0)
    picture, interval = desk.used(chosen, REQUEST)
    assert (
        picture.startswith("data:image/webp;base64,") and len(interval.keyframes) == 9
    )  # every 2nd of 16, and the last
    with pytest.raises(EditError):
        desk.used(replace(chosen, end=1.0), EditRequest(max_frames=1))


def test_the_same_clip_and_words_reuse_the_inversion_others_do_not(desk):
    chosen, _ = desk.take_example(0)
    assert not desk.reuses(chosen, REQUEST)
    job = desk.submit(chosen, REQUEST, "o" * 40, "")
    again, request = desk.take_job(job.id)
    assert request == REQUEST and again.interval == (0.0, None)
    assert not desk.reuses(again, REQUEST)  # it never ran, so there is nothing to reuse


def test_settings_that_contradict_are_said_before_the_run(desk):
    chosen, _ = desk.take_example(0)
    with pytest.raises(EditError, match="guidance_base"):
        desk.cost(chosen, EditRequest(inversion="null_text", guidance_base="source"))


def test_unknown_and_unread_words_are_named(desk):
    said = desk.warnings(("a red zeppelin", "a red zeppelin " + "word " * 90), "demo")
    assert "“zeppelin”" in said[0] and said[0].count("zeppelin") == 1
    assert said[1].startswith("Too long")
    assert not desk.warnings(("a red zeppelin",), "sd15")


def test_deleted_jobs_are_said_to_be_gone(desk):
    for name in ("0" * 32, "../etc", ""):
        shown = desk.open(name, None)
        assert shown["job"] is None and "no longer kept" in shown["view"]["error"]
