"""What the page does with clips, words and earlier edits, without a page."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from editor.events import EditError
from editor.jobs import JobService, upload_folder
from editor.manifest import STATEMENT, Recalled, tag_text
from editor.media.tag import read_tag, tag_video
from editor.request import EditRequest
from editor.settings import Settings
from editor.web import texts
from editor.web.admission import allowed_here
from editor.web.desk import Desk
from editor.web.estimate import Pace
from editor.web.examples import load_examples
from editor.web.words import Suggestions
from tests.web.serving import ENGINE, SOURCE, TARGET, draw_clip, one_example, store_finished

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
    chosen, _ = desk.take_upload(str(raw))
    assert not raw.exists() and chosen.path.is_file() and chosen.name == "mine.mp4"
    assert (chosen.start, chosen.end, chosen.info.seconds) == (0.0, 5.0, 5.0) and not chosen.info.notes


def test_of_a_clip_that_takes_too_long_as_much_is_taken_as_takes_two_minutes(desk, raw):
    draw_clip(raw, frames=40)
    desk.pace.learn("job", PLAIN, 8, 48.0, False)
    chosen, _ = desk.take_upload(str(raw))
    assert 2.0 < chosen.end <= 2.5, "20 keyframes of 6 s each"
    cost, _ = desk.cost(replace(chosen, end=chosen.end - 0.1), PLAIN)
    assert 90 < cost.seconds <= 120
    assert (
        f"The first {chosen.end:.3g} s of 5 s are chosen, as much as takes about two minutes here"
        in chosen.info.notes[-1]
    )


def test_a_video_of_ours_brings_its_settings_with_it(desk, raw):
    draw_clip(raw)
    assert desk.take_upload(str(raw))[1] is None
    raw.parent.mkdir()
    draw_clip(raw)
    tag_video(raw, tag_text({"manifest": 1, "request": REQUEST.to_dict()}), STATEMENT)
    chosen, found = desk.take_upload(str(raw))
    assert chosen.path.is_file() and found == Recalled(REQUEST, ())
    assert read_tag(chosen.path) is None and not raw.exists()


def test_what_this_installation_does_not_offer_is_named(desk):
    values = {"model": "me/mine", "vae": "x", "loras": {"ink": 1.0}, "max_frames": 100, "steps": 150}
    settings = replace(desk.settings, max_frames=64)
    asked = EditRequest.from_preset(source="a", targets=("b", "c", "d", "e", "f"), **values)
    found = allowed_here(Recalled(asked, ("before",)), settings, desk.models)
    said = ("before", "me/mine", "VAE", "ink", "max_frames is 100", "steps is 150", "5 target")
    assert all(part in complaint for part, complaint in zip(said, found.complaints, strict=True))
    took = found.request
    assert (took.model, took.vae, took.loras, took.targets) == ("demo", "", {}, ("b", "c", "d", "e"))
    assert (took.max_frames, took.steps) == (64, EditRequest.from_preset().steps)


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


def test_an_example_without_a_finished_edit_leaves_the_stage_empty(desk):
    assert desk.first_sight() == desk.show_example(0) == {"job": None}


def test_a_finished_example_is_shown_as_an_edit_that_was_made_earlier(tmp_path, desk):
    made = {"on": "2026-11-27", "model": "demo", "preset": "balanced", "summary": {"frames": 16, "seconds": 9.04}}
    one_example(tmp_path / "shelf", edited="square.mp4", made=made)
    desk.examples = load_examples(tmp_path / "shelf")
    shown = desk.first_sight()
    assert shown["example"] == 0 and "27 November 2026" in shown["view"]["made"]
    assert shown["view"]["results"][0]["edited"] == "example/0.edited.mp4"
    assert {row["label"]: row["value"] for row in shown["view"]["results"][0]["numbers"]} == {
        "Frames": "16",
        "Time": "9.0 s",
    }
    assert desk.examples[0].request() == EditRequest.from_preset(source=SOURCE, targets=(TARGET,))


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


def test_takes_of_one_edit_differ_in_their_strength_alone(desk, tmp_path):
    owner, clip = "o" * 40, tmp_path / "square.mp4"

    def finished(strength, clip=clip, owner=owner, **values):
        asked = EditRequest.from_preset(source=SOURCE, targets=(TARGET,), strength=strength, **values)
        return store_finished(desk.service, clip, asked, owner)

    strong, gentle = finished("strong"), finished("gentle")
    for apart in ({"end": 1.0}, {"owner": "p" * 40}, {"clip": draw_clip(tmp_path / "other.mp4", frames=12)}):
        finished("normal", **apart)
    takes = desk.open(strong, owner)["takes"]
    assert takes == [{"id": gentle, "label": "Gentle"}, {"id": strong, "label": "Strong"}]
    assert desk.open(strong, None)["takes"] == takes[1:]
    chosen, asked = desk.stepped(gentle, 1)
    assert (chosen.job, asked.strength) == (gentle, "normal")
    view = desk.open(strong, None)["view"]
    assert view["steps"] == {"closer": True, "stronger": False}


def test_a_clip_of_the_built_in_world_is_described_and_no_other(tmp_path):
    asked = load_examples()[0]
    assert Suggestions("").of(asked.file, 0.0, 2.5, "demo") == asked.source
    assert Suggestions("").of(asked.file, 0.0, 2.5, "sd15") == ""


def test_a_captioner_that_cannot_be_loaded_is_a_note_in_the_log(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    suggestions, clip = Suggestions(str(tmp_path / "nothing")), load_examples()[0].file
    assert suggestions.of(clip, 0.0, 2.5, "sd15") == "" and "nothing is not used" in caplog.text
    caplog.clear()
    assert suggestions.of(clip, 0.0, 2.5, "sd15") == "" and not caplog.text


def test_a_captioner_says_what_the_middle_of_the_clip_shows(tmp_path):
    """A real one of tiny size, with random weights: its words mean nothing, but they are its own."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "car", "road"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **small,
        "vocab_size": 8,
        "encoder_hidden_size": 16,
        "bos_token_id": 5,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 16})
    BlipForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(tmp_path)
    said = Suggestions(str(tmp_path)).of(load_examples()[0].file, 0.0, 2.5, "sd15")
    assert said and set(said.split()) <= set(words)


def test_the_shipped_examples_have_their_edits_and_are_small():
    examples = load_examples()
    assert len(examples) == 6 and all(example.edited and example.view(0) for example in examples)
    assert sum(example.edited.stat().st_size for example in examples) < 500_000
