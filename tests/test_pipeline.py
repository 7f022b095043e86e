"""An edit from a file to files, on tiny checkpoints: results, manifest, cache, events, and what goes wrong."""

import dataclasses
import errno
import json

import numpy as np
import pytest
import torch
from PIL import Image

from editor import EditRequest, edit, load_models
from editor.diffusion.latents import decode_latents
from editor.diffusion.safety import SafetyChecker
from editor.events import Cancelled, EditError, Preview, Progress, Stage, ignore, is_out_of_memory
from editor.media import Limits, probe, read_clip
from editor.method.branches import planned_evaluations
from editor.method.plan import plan_control
from editor.pipeline import edit_frames
from editor.settings import Settings
from editor.stages import targets
from editor.stages.cache import InversionCache, LevelFile
from editor.stages.footage import read_footage
from editor.stages.meter import Memory
from editor.stages.session import Session
from editor.stages.word_maps import MOST_KEYFRAMES
from tests import tiny
from tests.tiny import moving_square, write_clip

SOURCE, TARGET = "a red car on the road", "a blue car on the road"
STEPS, FRAMES = 3, 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.save_checkpoint(tmp_path_factory.mktemp("checkpoint"), "demo")


@pytest.fixture(scope="module")
def models(checkpoint):
    return load_models(str(checkpoint), Settings(device="cpu"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """One second, 48 x 32, 8 frames per second, with sound."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", sound=True)


def asked(preset="balanced", targets=(TARGET,), **values):
    return EditRequest.from_preset(
        preset, source=SOURCE, targets=targets, **{"steps": STEPS, "max_frames": FRAMES, **values}
    )


def read(result):
    return json.loads(result.manifest.read_text(encoding="utf-8"))


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# --- what comes out


def test_results_play_with_the_clips_size_length_and_sound(clip, models, tmp_path):
    (result,) = edit(clip, asked(end=0.5, max_frames=16), models, tmp_path)
    for video, size in ((result.edited, (48, 32)), (result.side_by_side, (100, 32))):
        found = probe(video)
        assert found.size == size and found.has_audio
        assert found.seconds == pytest.approx(0.5, abs=0.03)  # AAC ends on a whole packet of 21 ms
        assert found.frames == 4
    assert files_in(tmp_path) == [
        "0",
        *(f"0/{n}" for n in ("edited.mp4", "manifest.json", "poster.webp", "side_by_side.mp4")),
    ]
    shown = read_clip(result.side_by_side).frames
    original = moving_square()[:4]
    # H.264 at a high quality twice, the label in the upper left corner left out
    assert np.abs(shown[:, 20:32, :48].astype(int) - original[:, 20:]).mean() < 8


def test_all_frames_come_back_at_the_clips_own_rate_though_few_are_edited(models, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", moving_square(14), fps=24.0, sound=True)
    (result,) = edit(clip, asked(max_frames=16), models, tmp_path / "out")
    for video in (result.edited, result.side_by_side):
        found = probe(video)
        assert (found.frames, found.fps, found.has_audio) == (14, 24.0, True)
    told = read(result)
    keyframes = told["motion"]["keyframes"]
    assert set(keyframes) >= {0, 3, 6, 9, 12, 13}
    assert (told["frames"], told["keyframes"]) == (14, len(keyframes)) and told["motion"]["shots"] == 1
    assert told["motion"]["carried"] == 14 - len(keyframes) and 0 <= told["motion"]["unfollowed"] < 0.05
    per_frame = told["unet_evaluations_per_keyframe"] * len(keyframes) / 14
    assert told["unet_evaluations_per_frame"] == pytest.approx(per_frame)


def test_agreement_is_an_option(models, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", moving_square(4))
    together, alone = (
        read_frames(edit(clip, asked(max_frames=16, agreement=n), models, tmp_path / str(n))[0]) for n in (1, 0)
    )
    assert np.abs(together - alone).mean() > 1  # random weights edit every frame in another way
    assert np.abs(np.diff(together, axis=0)).mean() < np.abs(np.diff(alone, axis=0)).mean()


def test_a_new_thing_and_a_new_look_are_finished_as_such(models, clip, tmp_path, monkeypatch):
    asked_for, known = [], targets.detailed

    def heard(*arguments, everywhere, new_shapes):
        asked_for.append((everywhere, new_shapes))
        return known(*arguments, everywhere=everywhere, new_shapes=new_shapes)

    monkeypatch.setattr(targets, "detailed", heard)
    wanted = TARGET, "a red dinosaur on the road", "a red car on the road at sunset", "a red car in the snow"
    edit(clip, asked(targets=wanted, steps=1, max_frames=1), models, tmp_path, previews=False)
    assert asked_for == [(False, False), (False, True), (True, False), (False, True)]


def test_where_words_were_looked_for_is_a_small_picture_if_asked_for(models, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", moving_square(70))
    wanted = asked(targets=(TARGET, "a red car in the snow"), word_maps=True, max_frames=96, size=64, steps=1)
    for target, result in enumerate(edit(clip, wanted, models, tmp_path / "out", previews=False)):
        told = read(result)["word_maps"]
        assert told == result.summary["word_maps"] and result.files["word_maps"] == result.folder / "word_maps.webp"
        assert told["source"] == SOURCE.split() and told["target"] == wanted.targets[target].split()
        assert told["keyframes"][0] == 0 and told["keyframes"][-1] == 69
        assert len(told["keyframes"]) == MOST_KEYFRAMES < read(result)["keyframes"]
        width, height = told["size"]
        assert max(width, height) <= 16 and width / height == pytest.approx(48 / 32, rel=0.1)
        with Image.open(result.word_maps) as picture:
            assert picture.size == (MOST_KEYFRAMES * width, 12 * height)
            sheet = np.asarray(picture.convert("L")).reshape(12, height, MOST_KEYFRAMES, width)
        assert (sheet.max(axis=(1, 2, 3)) == 255).all(), "each word by its own highest"
        assert result.word_maps.stat().st_size < 200_000
    plain = edit(clip, asked(steps=1), models, tmp_path / "out")[0]
    assert "word_maps" not in plain.files and read(plain)["word_maps"] is None
    assert not (plain.folder / "word_maps.webp").exists(), "those of the edit before are gone"


def test_words_of_a_prompt_that_never_runs_have_no_map_and_that_is_said(clip, models, tmp_path):
    alone = {"residual": 0.0, "blend": False, "self_attention": "own", "replace_window": 0.0, "refine_window": 0.0}
    (result,) = edit(clip, asked(word_maps=True, **alone), models, tmp_path)
    told = read(result)
    assert (told["word_maps"]["source"], told["word_maps"]["target"]) == ([], TARGET.split())
    assert any("never runs that prompt" in note for note in told["notes"])


def test_several_targets_share_one_inversion_and_have_a_folder_each(clip, models, tmp_path):
    results = edit(clip, asked(targets=(TARGET, "a red car in the snow")), models, tmp_path)
    assert [r.target for r in results] == [TARGET, "a red car in the snow"]
    assert [r.edited for r in results] == [tmp_path / "0" / "edited.mp4", tmp_path / "1" / "edited.mp4"]
    for result in results:
        assert read(result)["stage_unet_evaluations"]["invert"] == STEPS
        assert read(result)["target"] == result.target


@pytest.mark.parametrize(("width", "height"), [(34, 50), (64, 18)])
def test_any_aspect_ratio_comes_back_as_it_was(models, tmp_path, width, height):
    clip = write_clip(tmp_path / "clip.mp4", moving_square(3, width, height))
    (result,) = edit(clip, asked(), models, tmp_path / "out")
    assert probe(result.edited).size == (width, height)
    assert not probe(result.edited).has_audio
    assert any(f"scaled back to {width} x {height}" in note for note in read(result)["notes"])


def test_a_single_frame_can_be_edited(clip, models, tmp_path):
    (result,) = edit(clip, asked(max_frames=1), models, tmp_path)
    assert probe(result.edited).frames == 1


def test_what_is_left_out_is_said(clip, models, tmp_path):
    (result,) = edit(clip, asked(), models, tmp_path)
    assert any("0.375 s of 1 s" in note for note in read(result)["notes"])


@pytest.mark.parametrize("preset", ["paper", "balanced", "fast"])
def test_every_preset_runs_on_a_v_prediction_checkpoint_in_sd_layout_with_a_pndm_config(preset, clip, tmp_path):
    folder = tiny.save_checkpoint(tmp_path / "model", "sd15", "v_prediction", pndm=True)
    models = load_models(str(folder), Settings(device="cpu"))
    (result,) = edit(clip, asked(preset, steps=2, max_frames=2, size=64), models, tmp_path / "out")
    assert probe(result.edited).size == (48, 32)
    assert read(result)["request"]["inversion"] == asked(preset).inversion


def test_the_manifest_tells_what_ran_and_what_it_cost(clip, models, tmp_path):
    request = asked("paper", spatial_pixel_weight=1.0, spatial_window=(0.0, 1.0), spatial_every=1)
    (result,) = edit(clip, request, models, tmp_path)
    told = read(result)
    assert EditRequest.from_dict(told["request"]) == request
    assert (told["model"]["revision"], told["model"]["weights_hash"]) == (models.revision, models.weights_hash)
    assert (told["model"]["device"], told["model"]["dtype"], told["model"]["kernel"]) == ("cpu", "float32", "sdpa")
    assert told["model"]["kernel_reason"] and told["model"]["device_reason"] and told["model"]["dtype_reason"]
    assert told["versions"]["torch"] == torch.__version__
    planned = planned_evaluations(request, [plan_control(SOURCE, TARGET, request, models.tokenizer)])
    assert told["stage_unet_evaluations"] == pytest.approx(planned)  # one inner step cannot stop early
    assert told["unet_evaluations_per_frame"] == pytest.approx(sum(planned.values()))
    assert set(told["stage_seconds"]) >= {"prepare", "encode", "invert", "null_text", "edit", "decode"}
    assert told["seconds"] >= sum(told["stage_seconds"].values()) * 0.99  # rounded to milliseconds
    assert 0 < told["flops_per_frame"]["spatial_loss_share"] < 1
    assert told["flops_per_frame"]["frame_attention"] > 0
    assert told["clip"]["source_seconds"] == pytest.approx(1.0) and told["clip"]["sound"]
    assert result.summary["unet_evaluations_per_frame"] == told["unet_evaluations_per_frame"]


def test_check_measures_the_reconstruction_beside_the_edit(clip, models, tmp_path):
    request = asked(inversion="pinned", residual=1.0, residual_window=(0.0, 1.0), guidance_base="source")
    (plain,) = edit(clip, request, models, tmp_path / "plain")
    (checked,) = edit(clip, request, models, tmp_path / "checked", check=True)
    assert read(plain)["reconstruction_psnr"] is None
    # pinned, k = 1, source as guidance base: the target row is z* itself, so nothing but the VAE is lost
    assert read(checked)["reconstruction_psnr"] == pytest.approx(read(checked)["vae_psnr"], abs=1e-3)
    assert read(checked)["unet_evaluations_per_frame"] == read(plain)["unet_evaluations_per_frame"]


def test_a_golden_slice_of_the_tiny_pipeline(clip, models, tmp_path):
    request = asked(**GOLDEN_SETTINGS)
    session = Session.begin(request, models, ignore, None, check=False, previews=False)
    edited = edit_frames(session, read_footage(clip, request, models, tmp_path, None, normalised=False))
    found = edited.sampled.latents[0, 1, :2, 2, 2:6].flatten()
    # recorded from this code, after the identities passed; other CPUs round differently in the last places
    torch.testing.assert_close(found, torch.tensor(GOLDEN), rtol=0, atol=2e-3)


GOLDEN_SETTINGS = {
    "size": 32,
    "guidance_scale": 5.0,
    "guidance_stop": 1.0,
    "inversion": "pinned",
    "inversion_prompt": "source",
    "residual": 0.5,
    "residual_window": (0.0, 1.0),
    "guidance_base": "empty",
    "self_attention": "own",
    "frame_attention": "sparse",
    "dense_layers": "paper",
    "replace_window": 0.8,
    "blend": False,
}
GOLDEN = [-0.48754, -0.33536, 0.86288, -0.05547, 0.64708, -0.04338, -0.56137, 0.19043]


# --- the cache


def test_a_second_edit_of_the_clip_finds_its_inversion(clip, models, tmp_path):
    cache = InversionCache(tmp_path / "cache", 10**9)
    request = asked("paper")
    events = []
    (first,) = edit(clip, request, models, tmp_path / "a", cache=cache)
    (second,) = edit(clip, request, models, tmp_path / "b", events.append, cache)
    assert (read(first)["inversion_cached"], read(second)["inversion_cached"]) == (False, True)
    assert read(second)["stage_unet_evaluations"]["invert"] == read(second)["stage_unet_evaluations"]["null_text"] == 0
    assert any("inversion and null text taken from the cache" in note for note in read(second)["notes"])
    assert any("cache" in e.message for e in events if isinstance(e, Progress))
    assert read(second)["vae_psnr"] == read(first)["vae_psnr"]
    assert first.edited.read_bytes() == second.edited.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [{"start": 0.25}, {"max_frames": 2}, {"key_fps": 4.0}, {"steps": 4}, {"inversion_prompt": "empty"}, {"size": 64}],
)
def test_what_the_inversion_depends_on_makes_another_one(clip, models, tmp_path, changes):
    cache = InversionCache(tmp_path / "cache", 10**9)
    edit(clip, asked(), models, tmp_path / "a", cache=cache)
    (result,) = edit(clip, asked(**changes), models, tmp_path / "b", cache=cache)
    assert not result.summary["inversion_cached"]


@pytest.mark.parametrize("changes", [{"guidance_scale": 3.0}, {"targets": ("a cat",)}, {"blend": False}])
def test_what_it_does_not_depend_on_does_not(clip, models, tmp_path, changes):
    cache = InversionCache(tmp_path / "cache", 10**9)
    edit(clip, asked(), models, tmp_path / "a", cache=cache)
    (result,) = edit(clip, asked(**changes), models, tmp_path / "b", cache=cache)
    assert result.summary["inversion_cached"]


def test_other_weights_or_another_clip_make_another_one(clip, models, tmp_path):
    cache = InversionCache(tmp_path / "cache", 10**9)
    edit(clip, asked(), models, tmp_path / "a", cache=cache)
    other = dataclasses.replace(models, revision="another")
    assert not edit(clip, asked(), other, tmp_path / "b", cache=cache)[0].summary["inversion_cached"]
    drawn = write_clip(tmp_path / "other.mp4", moving_square()[::-1])
    assert not edit(drawn, asked(), models, tmp_path / "c", cache=cache)[0].summary["inversion_cached"]


def test_the_same_pictures_with_another_sound_share_one(clip, models, tmp_path):
    cache = InversionCache(tmp_path / "cache", 10**9)
    edit(clip, asked(), models, tmp_path / "a", cache=cache)
    silent = write_clip(tmp_path / "silent.mp4")
    assert edit(silent, asked(), models, tmp_path / "b", cache=cache)[0].summary["inversion_cached"]


def test_a_cache_that_cannot_keep_it_is_a_note_not_an_error(clip, models, tmp_path):
    (result,) = edit(clip, asked(), models, tmp_path / "out", cache=InversionCache(tmp_path / "cache", 10))
    assert any("is not kept: the cache may hold" in note for note in read(result)["notes"])


# --- events


def test_progress_names_the_stages_in_order_and_previews_show_the_clip(clip, models, tmp_path):
    events = []
    edit(clip, asked("paper", targets=(TARGET, "a cat")), models, tmp_path, events.append)
    stages = list(dict.fromkeys(e.stage for e in events if isinstance(e, Progress)))
    assert stages == list(Stage)
    assert all(0 <= e.done <= e.total for e in events if isinstance(e, Progress))
    editing = [e for e in events if isinstance(e, Progress) and e.stage == Stage.EDIT]
    assert [e.done for e in editing] == list(range(STEPS + 1))
    assert all(e.seconds_left is not None and e.seconds_left >= 0 for e in editing)
    previews = [e for e in events if isinstance(e, Preview)]
    assert {p.target_index for p in previews} == {0, 1}
    for preview in previews:
        assert preview.original.shape == preview.guess.shape == (FRAMES, 26, 39, 3)  # the area of 32 x 32
        assert preview.original.dtype == preview.guess.dtype == np.uint8


def test_previews_can_be_turned_off(clip, models, tmp_path):
    events = []
    edit(clip, asked(), models, tmp_path, events.append, previews=False)
    assert not any(isinstance(e, Preview) for e in events)


@pytest.mark.parametrize("stage", list(Stage))
def test_cancelling_at_any_stage_leaves_nothing_and_restores_the_unet(clip, models, tmp_path, stage):
    before = dict(models.unet.attn_processors)

    def emit(event):
        if isinstance(event, Progress) and event.stage == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        edit(clip, asked("paper"), models, tmp_path, emit)
    assert files_in(tmp_path) == []
    assert models.unet.attn_processors == before


# --- what goes wrong


def test_equal_prompts_only_reconstruct_and_that_is_said(clip, models, tmp_path):
    (result,) = edit(clip, asked(targets=(SOURCE,)), models, tmp_path)
    assert any("this only reconstructs the clip" in note for note in read(result)["notes"])


def test_words_beyond_77_tokens_are_named(clip, models, tmp_path):
    (result,) = edit(clip, asked(targets=("car " * 75 + "zebra",)), models, tmp_path)
    assert any("target prompt" in n and n.endswith("not seen by the model: zebra") for n in read(result)["notes"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"targets": ("",)}, "target prompt"),
        ({"start": 0.5, "end": 0.5}, "empty"),
        ({"start": 5.0}, "1 s long"),
        ({"end": 5.0}, "1 s long"),
        ({"start": 0.0, "end": 1.0, "max_frames": 1}, "8 frames need 2 keyframes"),
        ({"max_frames": 1000}, "Allowed: a whole number, 1 to 480"),
        ({"word_weights": {"zebra": 2.0}}, "zebra"),
    ],
)
def test_requests_that_cannot_be_done_are_refused_in_words(clip, models, tmp_path, values, said):
    with pytest.raises(EditError, match=said):
        edit(clip, asked(**values), models, tmp_path)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"no video at all" * 100, "not a video"), (None, "There is no file")]
)
def test_files_that_are_no_video_are_refused_in_words(models, tmp_path, content, said):
    raw = tmp_path / "raw.mp4"
    if content is not None:
        raw.write_bytes(content)
    with pytest.raises(EditError, match=said):
        edit(raw, asked(), models, tmp_path / "out")
    assert files_in(tmp_path / "out") == []


def still(*counts):
    """Pictures that have nothing in common, each for so many frames: uint8 (F, 32, 48, 3)."""
    drawn = np.random.default_rng(0).integers(0, 256, (len(counts), 4, 6, 3), np.uint8)
    return drawn.repeat(8, axis=1).repeat(8, axis=2).repeat(counts, axis=0)


@pytest.mark.parametrize(
    ("frames", "fps", "keyframes"),
    [
        (moving_square(1), 8.0, [0]),
        (moving_square(2), 8.0, [0, 1]),
        (still(1, 1, 1, 1, 1), 8.0, [0, 1, 2, 3, 4]),  # a slideshow: nothing to be carried over a cut
        (still(12), 24.0, [0, 3, 6, 9, 11]),  # a frozen clip
        (still(1, 1, 1)[[0, 0, 0, 0, 1, 0, 0, 0, 0]], 24.0, [0, 3, 4, 6, 8]),  # a flash is edited, and is no cut
    ],
    ids=["one frame", "two frames", "slideshow", "frozen", "flash"],
)
def test_strange_clips_come_back_whole(models, tmp_path, frames, fps, keyframes):
    clip = write_clip(tmp_path / "clip.mp4", frames, fps=fps, sound=True)
    (result,) = edit(clip, asked(steps=1, max_frames=16), models, tmp_path / "out")
    found, told = probe(result.edited), read(result)
    assert (found.frames, found.has_audio) == (len(frames), True)
    assert found.fps == pytest.approx(fps, abs=0.01) or len(frames) == 1
    assert told["motion"]["keyframes"] == keyframes
    assert told["motion"]["carried"] == len(frames) - len(keyframes)


def test_a_rate_of_5994_comes_back_at_half_of_it_and_that_is_said(models, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", moving_square(12), fps=59.94)
    (result,) = edit(clip, asked(steps=1, max_frames=16), models, tmp_path / "out")
    found = probe(result.edited)
    assert found.frames == 6 and found.seconds == pytest.approx(12 / 59.94, abs=0.01)
    assert any("Reduced from 59.94" in note for note in read(result)["notes"])


def test_a_clip_longer_than_the_keyframes_reach_is_edited_so_far_and_that_is_said(models, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", moving_square(16), fps=8.0)
    (result,) = edit(clip, asked(steps=1, max_frames=5), models, tmp_path / "out")
    assert probe(result.edited).frames == 5
    assert "Edited from 0 s to 0.625 s of 2 s: 5 keyframes is the limit" in " ".join(read(result)["notes"])


def test_keyframes_pass_in_windows_and_that_is_said(models, tmp_path):
    clip, events = write_clip(tmp_path / "clip.mp4", moving_square(14), fps=16.0), []
    (result,) = edit(clip, asked(steps=2, max_frames=16, window=3), models, tmp_path / "parted", events.append)
    told = read(result)
    assert (told["window"], told["keyframes"], told["frames"]) == (3, 8, 14)
    assert "the 8 keyframes pass the network in windows of at most 3" in told["notes"]
    said = [e.message for e in events if isinstance(e, Progress) and e.stage is Stage.EDIT and e.message]
    assert said[:3] == [f"keyframe {n} of 8, then 6 frames follow" for n in (2, 5, 8)]
    shown = [e for e in events if isinstance(e, Preview)]
    assert shown and shown[0].stride == 1


def test_a_disk_that_fills_while_the_noise_levels_are_written_is_said_and_leaves_nothing(
    clip, models, tmp_path, monkeypatch
):
    written = []

    def filling(self, level, latents):
        written.append(level)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return keep(self, level, latents)

    keep = LevelFile.__setitem__
    monkeypatch.setattr(LevelFile, "__setitem__", filling)
    cache = InversionCache(tmp_path / "cache", 10**9)
    with pytest.raises(EditError, match="The disk is full"):
        edit(clip, asked(), models, tmp_path / "out", cache=cache)
    assert len(written) == 3 and files_in(tmp_path / "out") == [] and not cache.folder.exists()


def test_limits_are_the_callers(clip, models, tmp_path):
    with pytest.raises(EditError, match=r"longer than the 0\.2 s that are allowed"):
        edit(clip, asked(), models, tmp_path, limits=Limits(seconds=0.2))


def test_nan_is_an_error_and_never_a_black_video(clip, checkpoint, tmp_path):
    broken = load_models(str(checkpoint), Settings(device="cpu"))
    broken.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(EditError, match="overflowed"):
        edit(clip, asked(), broken, tmp_path)
    assert files_in(tmp_path) == []


@pytest.fixture
def scarce(models):
    """Lets the UNet fail as a full device does, on its first `times` calls with more than `most` frames in a batch.

    The list it returns gets the batch of every call.
    """
    handles = []

    def make(most, times=1):
        batches, failed = [], []

        def check(module, inputs):
            batches.append(len(inputs[0]))
            if batches[-1] > most and len(failed) < times:
                failed.append(True)
                raise torch.OutOfMemoryError("CUDA out of memory")

        handles.append(models.unet.register_forward_pre_hook(check))
        return batches

    yield make
    for handle in handles:
        handle.remove()


def test_memory_that_runs_out_halves_the_stage_until_it_fits(clip, models, tmp_path, scarce):
    batches = scarce(most=1, times=2)
    (result,) = edit(clip, asked(), models, tmp_path)
    assert batches[:5] == [FRAMES, 2, 1, 1, 1], "all, half of them rounded up, then each by itself"
    assert "memory ran out: at most 1 frames at a time from then on" in read(result)["notes"]


def test_the_retry_of_an_edit_with_one_target_takes_smaller_windows(clip, models, tmp_path, scarce):
    batches = scarce(most=6)  # two frames of source, guidance's base and target
    (result,) = edit(clip, asked(), models, tmp_path)
    assert max(batches) == 9 and max(batches[batches.index(9) + 1 :]) == 6
    told = read(result)
    assert told["window"] == 2 and "memory ran out: at most 2 frames at a time from then on" in told["notes"]


def test_the_retry_of_the_edit_takes_fewer_targets_at_once(clip, models, tmp_path, scarce):
    (whole,) = edit(clip, asked(), models, tmp_path / "alone")
    batches = scarce(most=3 * FRAMES)  # source, guidance's base and one target still fit
    first, second = edit(clip, asked(targets=(TARGET, "a cat")), models, tmp_path / "both")
    assert max(batches) == 5 * FRAMES and second.target == "a cat"
    assert max(batches[batches.index(5 * FRAMES) + 1 :]) == 3 * FRAMES
    away, other = (np.abs(read_frames(found) - read_frames(whole)).mean() for found in (first, second))
    assert away < 1 < other / 10  # levels; chunks of the VAE round differently, and the codec passes that on


@pytest.mark.parametrize(
    ("name", "budget", "said"),
    [
        ("encode", 2 * 64 * 48, "at most 2 frames through the VAE at a time"),
        ("decode", 16 * 12, "at most 1 frames through the VAE at a time"),
    ],
)
def test_the_vae_takes_fewer_frames_until_they_fit(clip, models, tmp_path, monkeypatch, name, budget, said):
    real, sizes = getattr(models.vae, name), []

    def refusing(x, *args, **kwargs):
        size = len(x) * x.shape[-1] * x.shape[-2]
        if size > budget:
            raise RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)")
        sizes.append(size)
        return real(x, *args, **kwargs)

    monkeypatch.setattr(models.vae, name, refusing)
    (result,) = edit(clip, asked(size=64), models, tmp_path, previews=False)
    assert sizes and max(sizes) <= budget
    assert any(said in note for note in read(result)["notes"])


def test_the_vaes_last_resort_are_tiles(models):
    latents = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = decode_latents(models.vae, latents, 1)
    tiles = decode_latents(models.vae, latents, 1, tile=128)
    assert tiles.shape == whole.shape == (1, 256, 256, 3)
    assert 0 < np.abs(tiles.astype(int) - whole).mean() < 8  # levels: attention in the middle sees a tile only
    assert not models.vae.use_tiling, "what was set comes back"


def test_less_and_less_until_nothing_is_left():
    memory, tried = Memory(), []

    def never(chunks):
        tried.append((chunks.vae, chunks.tile))
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(EditError, match=r"not enough memory.*max_frames"):
        memory.within("vae", 512, never)
    assert tried == [(4, None), (2, None), (1, None), (1, 256), (1, 128)]
    assert memory.chunks.frames is memory.chunks.targets is None, "other stages keep their size"


@pytest.mark.parametrize("text", ["CUDNN_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory"])
def test_allocation_failures_of_libraries_count_as_out_of_memory(text):
    assert is_out_of_memory(RuntimeError(f"error: {text}")) and not is_out_of_memory(RuntimeError("shape mismatch"))


def read_frames(result):
    return read_clip(result.edited).frames.astype(int)


def test_memory_that_runs_out_twice_is_an_error_with_ways_out(clip, models, tmp_path, scarce):
    scarce(most=0, times=3)  # all frames, half of them, one
    with pytest.raises(EditError, match=r"not enough memory.*max_frames.*size"):
        edit(clip, asked(), models, tmp_path)
    assert files_in(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(clip, models, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(EditError, match="is full"):
        edit(clip, asked(), models, tmp_path)
    assert files_in(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_said(clip, models, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EditError, match=r"cannot be written to .*file"):
        edit(clip, asked(), models, tmp_path / "file" / "out")


def test_an_earlier_result_survives_a_failure(clip, models, tmp_path, monkeypatch):
    edit(clip, asked(), models, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    monkeypatch.setattr(Image.Image, "save", lambda *a, **k: 1 / 0)  # the poster, when the videos are written
    with pytest.raises(ZeroDivisionError):
        edit(clip, asked(targets=("a cat",)), models, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.*")} == before


def test_frames_that_the_safety_checker_flags_are_not_written(clip, models, tmp_path):
    class Stern(SafetyChecker):
        def flagged(self, frames, chunk=8):
            return (0,)

    with pytest.raises(EditError, match="flagged 1 of 3 frames"):  # a third of them
        edit(clip, asked(), dataclasses.replace(models, safety=Stern(None, None, models.device)), tmp_path)
    assert files_in(tmp_path) == []


def test_a_normalised_clip_is_read_as_it_is(clip, models, tmp_path):
    limits = Limits(seconds=0.2)  # normalising would refuse the clip
    (result,) = edit(clip, asked(), models, tmp_path / "out", normalised=True, limits=limits)
    assert read(result)["frames"] == FRAMES


def test_what_was_computed_for_other_targets_stays(clip, models, tmp_path):
    class Choosy(SafetyChecker):
        def flagged(self, frames, chunk=8):
            seen.append(len(frames))
            return (0, 1) if len(seen) == 1 else ()

    seen = []
    safe = dataclasses.replace(models, safety=Choosy(None, None, models.device))
    (result,) = edit(clip, asked(targets=(TARGET, "a red car in the snow")), safe, tmp_path)
    assert result.target == "a red car in the snow" and result.edited.is_file()
    withheld = f"“{TARGET}”: The checkpoint's safety checker flagged 2 of 3"
    assert any(note.startswith(withheld) for note in read(result)["notes"])
    assert result.summary["withheld"].startswith(withheld)
