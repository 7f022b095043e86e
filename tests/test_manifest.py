"""Settings that travel: inside a video, inside a GIF, as JSON; from us, from another version, from somebody hostile."""

import argparse
import io
import json
import re
import struct

import numpy as np
import pytest
from PIL import Image

from editor.events import EditError
from editor.flags import add_request_flags, request_from
from editor.manifest import STATEMENT, by_hand, read_settings, recalled, recalled_from, stepped, tag_text
from editor.media import probe, write_video
from editor.media.region import region_mask
from editor.media.tag import read_tag, tag_video, tagged_gif
from editor.request import PRESETS, EditRequest

REQUEST = EditRequest.from_preset(
    "fast", source="a <b>red</b> car", targets=("a blue “car” & more", "a green car"), steps=12, end=1.5
)
MANIFEST = {"manifest": 1, "request": REQUEST.to_dict(), "notes": ["one"]}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("tag") / "edited.mp4"
    write_video(np.zeros((3, 16, 16, 3), np.uint8), 8.0, path)
    before = probe(path)
    tag_video(path, tag_text(MANIFEST), STATEMENT)
    assert probe(path) == before
    return path


def gif(text=None):
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(out, "gif", save_all=True, append_images=frames[1:], loop=0)
    return tagged_gif(out.getvalue(), text) if text else out.getvalue()


def test_a_video_carries_its_settings_and_the_statement(video):
    found = read_settings(video)
    assert found.request == REQUEST and found.complaints == ()
    assert STATEMENT.encode() in video.read_bytes()


def test_a_gif_carries_its_settings_and_stays_a_gif(tmp_path):
    path = tmp_path / "edited.gif"
    path.write_bytes(gif(tag_text(MANIFEST)))
    assert read_settings(path).request == REQUEST
    with Image.open(path) as picture:
        assert picture.n_frames == 2 and picture.size == (8, 8)


def test_a_manifest_as_json_is_read(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(MANIFEST))
    assert read_settings(path).request == REQUEST


def test_values_that_cannot_be_used_are_named_one_by_one():
    hostile = {
        **{"source": "<script>alert(1)</script>", "targets": ["a\x00b"], "steps": 9999, "guidance_scale": "much"},
        **{"preset": "<b>", "null_text_window": [1, 0], "no_such": 1, "loras": [1], "end": -1, "blend": "yes"},
    }
    found = recalled(hostile)
    names = ("targets", "steps", "guidance_scale", "<b>", "null_text_window", "no_such", "loras", "end is", "blend")
    for name in names:
        said = [complaint for complaint in found.complaints if re.search(rf"(^|\W){re.escape(name)}\W", complaint)]
        assert len(said) == 1, name
    assert found.request == EditRequest.from_preset(source="<script>alert(1)</script>")


def test_values_that_contradict_each_other_are_said():
    assert "guidance_base" in recalled({"inversion": "null_text", "guidance_base": "source"}).complaints[-1]


def test_a_flood_of_unknown_names_is_cut():
    assert len(recalled({f"n{i}": i for i in range(1000)}).complaints) == 21


@pytest.mark.parametrize("version", [2, "<b>", None, [1]])
def test_another_version_is_said_and_what_is_known_used(tmp_path, version):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**MANIFEST, "manifest": version}))
    found = read_settings(path)
    assert found.request == REQUEST and "this program reads 1" in found.complaints[0]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "Shot on a phone", '{"request": 1}', '{"comment": "mine"}', "[" * 100_000]
)
def test_what_is_not_ours_holds_no_settings(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert recalled_from(path) is None
    with pytest.raises(EditError, match="holds no settings"):
        read_settings(path)


def test_a_huge_manifest_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(EditError, match=r"50\.0 MB"):
        read_settings(path)


def box(kind, content=b"", length=None):
    return struct.pack(">I4s", len(content) + 8 if length is None else length, kind) + content


def comment(data):
    return box(b"moov", box(b"udta", box(b"meta", b"\0" * 4 + box(b"ilst", box(b"\xa9cmt", data)))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        b"GIF89a" + b"\xff" * 30,
        b"GIF89a" + b"\0" * 7 + b"\x21\xfe\xff" + b"x" * 100,
        box(b"moov", length=0),
        box(b"moov", length=4),
        box(b"moov", length=2**32 - 1),
        struct.pack(">I4sQ", 1, b"moov", 2**64 - 1),
        struct.pack(">I4sQ", 1, b"moov", 3),
        comment(box(b"data", b"\0" * 8 + b"\xff\xfe")),
        comment(box(b"data", b"\0")),
        box(b"free") * 10_000,
    ],
)
def test_files_that_lie_about_their_structure_have_no_tag(tmp_path, content):
    path = tmp_path / "hostile.mp4"
    path.write_bytes(content)
    assert read_tag(path) is None


def test_a_foreign_tag_is_read_but_holds_no_settings(tmp_path):
    path = tmp_path / "phone.mp4"
    path.write_bytes(comment(box(b"data", b"\0" * 8 + b"Shot on a phone")))
    assert read_tag(path) == "Shot on a phone" and recalled_from(path) is None


def flags(*given):
    parser = argparse.ArgumentParser()
    add_request_flags(parser)
    return parser.parse_args(given)


def test_the_settings_of_an_earlier_edit_hold_where_no_flag_is_given():
    assert request_from(flags(), REQUEST) == REQUEST
    other = request_from(flags("--target", "a cow", "--steps", "7"), REQUEST)
    assert (other.targets, other.steps, other.preset, other.end) == (("a cow",), 7, "fast", 1.5)


def test_steps_that_are_asked_for_are_not_shortened_by_an_earlier_edit():
    earlier = EditRequest.from_preset("fast", source="a cat", targets=("a dog",), swap_steps=3)
    assert request_from(flags("--guidance-scale", "2"), earlier).swap_steps == 3
    for given in (("--steps", "7"), ("--steps", "7", "--preset", "fast")):
        assert (request_from(flags(*given), earlier).steps, request_from(flags(*given), earlier).swap_steps) == (7, 0)


def test_another_preset_keeps_what_was_set_by_hand_alone():
    assert set(by_hand(REQUEST)) == {"source", "targets", "steps", "swap_steps", "end"}
    paper = request_from(flags("--preset", "paper"), REQUEST)
    assert paper == EditRequest.from_preset("paper", source=REQUEST.source, targets=REQUEST.targets, steps=12, end=1.5)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_comes_back_as_it_went(preset):
    request = EditRequest.from_preset(preset, source="a red car", targets=("a blue car",))
    assert recalled(json.loads(json.dumps(request.to_dict()))) == (type(recalled({})))(request, ())


def test_one_step_of_strength_changes_nothing_that_was_set_by_hand():
    stronger = stepped(REQUEST, 1)
    assert (stronger.strength, stronger.steps, stronger.targets) == ("strong", 12, REQUEST.targets)
    assert stronger.guidance_scale > REQUEST.guidance_scale and stepped(stronger, -1) == REQUEST
    for request, step, said in ((stronger, 1, "strong already"), (EditRequest.from_preset("paper"), 1, "as published")):
        with pytest.raises(EditError, match=said):
            stepped(request, step)


def test_a_picture_of_the_region_becomes_part_of_the_request(tmp_path):
    Image.fromarray(np.eye(8, dtype=bool).repeat(40, 0).repeat(40, 1)).save(tmp_path / "mask.png")
    asked = request_from(
        flags("--source", "a", "--target", "b", "--region", str(tmp_path / "mask.png"), "--region-at", "1.2")
    )
    assert asked.region_at == 1.2 and region_mask(asked.region).shape == (160, 160)
    assert recalled(asked.to_dict()).request == asked
    with pytest.raises(EditError, match="no picture"):
        request_from(flags("--source", "a", "--target", "b", "--region", "/nowhere.png"))
