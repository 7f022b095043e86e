"""The real engine on a tiny checkpoint with random weights: what the adapter passes on, and that models stay warm."""

import dataclasses
import json
import subprocess

import pytest

from editor.events import Cancelled, EditError, Preview, Progress, Stage, Tick
from editor.jobs import engine, files
from editor.media import ffmpeg_path, normalise
from editor.request import EditRequest
from tests.jobs.conftest import settings_in
from tests.tiny import save_checkpoint, save_clip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("tiny"), "demo")


@pytest.fixture
def job_dir(tmp_path):
    raw, folder = tmp_path / "raw.mp4", tmp_path / "run-1"
    folder.mkdir()
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=4:duration=1"]
    subprocess.run([ffmpeg_path(), "-v", "error", *source, str(raw)], check=True)
    normalise(raw, folder / files.CLIP)
    return folder


@pytest.fixture(autouse=True)
def cold():
    engine._warm.clear()
    yield
    engine._warm.clear()


def asked(checkpoint, **values):
    given = {"steps": 2, "max_frames": 2, "size": 64, "model": str(checkpoint), "targets": ("a blue car", "a red bus")}
    return EditRequest.from_preset("fast", source="a red car", **{**given, **values})


def test_an_edit_from_clip_to_results_inside_the_job_and_the_model_stays_warm(
    checkpoint, job_dir, tmp_path, monkeypatch
):
    from editor.diffusion import models

    loads = []
    load = models.load_models
    monkeypatch.setattr(models, "load_models", lambda *asked, **more: loads.append(asked[0]) or load(*asked, **more))
    settings = settings_in(tmp_path, device="cpu")
    heard = []
    results = engine.run(job_dir, asked(checkpoint), settings, heard.append)
    assert [result.target for result in results] == ["a blue car", "a red bus"]
    for result in results:
        for path in (result.edited, result.side_by_side, result.poster, result.manifest):
            assert path.is_file() and path.is_relative_to(job_dir)
        json.dumps(dataclasses.asdict(result)["summary"])  # it has to cross the process boundary
    assert any(isinstance(event, Preview) for event in heard)
    assert isinstance(heard[0], Progress) and "Loading the model" in heard[0].message
    assert list((tmp_path / "inversions").glob("*.safetensors")), "the inversion is kept for the next edit of this clip"
    (again,) = engine.run(job_dir, asked(checkpoint, targets=("a green car",)), settings, heard.append)
    assert again.summary["inversion_cached"] is True
    engine.warm(dataclasses.replace(settings, model=str(checkpoint)))
    assert loads == [str(checkpoint)], "what a server loads when it starts is what its edits use"


def test_a_clip_model_says_how_well_results_match_their_sentences(checkpoint, job_dir, tmp_path, monkeypatch):
    from editor.stages import quality

    loads, load = [], quality.ClipScore
    monkeypatch.setattr(quality, "ClipScore", lambda name: loads.append(name) or load(name))
    model = str(save_clip(tmp_path / "a-clip-model"))
    settings = settings_in(tmp_path, device="cpu", clip=model)
    results = engine.run(job_dir, asked(checkpoint), settings, lambda event: None)
    for result in results:
        told = result.read_manifest()
        scores = told["clip_scores"]
        assert (scores["model"], scores["frames"]) == ("a-clip-model", 2)
        expected = round(scores["result"] / scores["clip"], 3) if scores["clip"] > 0 else None
        assert result.summary["text_match"] == told["text_match"] == pytest.approx(expected, abs=2e-3)
    fresh(job_dir, asked(checkpoint), settings)
    assert loads == [model], "loaded once"


def test_a_clip_model_that_cannot_be_loaded_costs_one_warning_and_no_edit(checkpoint, job_dir, tmp_path, caplog):
    settings = settings_in(tmp_path, device="cpu", clip=str(tmp_path / "nothing"))
    request = asked(checkpoint, targets=("a blue car",))
    (result,) = engine.run(job_dir, request, settings, lambda event: None)
    fresh(job_dir, request, settings)
    assert result.edited.is_file() and result.summary["text_match"] is None
    (warning,) = [record for record in caplog.records if "EDITOR_CLIP" in record.message]
    assert warning.levelname == "WARNING" and "no CLIP model" in warning.message


def test_a_cancel_leaves_no_result(checkpoint, job_dir, tmp_path):
    def emit(event):
        if isinstance(event, Preview):
            raise Cancelled

    with pytest.raises(Cancelled):
        engine.run(job_dir, asked(checkpoint), settings_in(tmp_path, device="cpu"), emit)
    assert [p for p in job_dir.rglob("*") if p.is_file()] == [job_dir / files.CLIP]


def test_every_layer_is_a_moment_to_stop():
    """Was: a stop waited for the end of the step, or of the autoencoder, up to 20 s until the worker was killed."""
    import torch

    layers = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(5)))
    heard = []

    def emit(event):
        heard.append(event)
        if len(heard) == 4:
            raise Cancelled

    with pytest.raises(Cancelled), engine.stoppable(emit):
        layers(torch.zeros(1, 2))
    assert heard == [Tick()] * 4
    layers(torch.zeros(1, 2))
    assert len(heard) == 4, "nothing is left behind"


def test_a_stop_inside_a_step_leaves_the_model_as_it_was(checkpoint, job_dir, tmp_path):
    settings, request = settings_in(tmp_path, device="cpu"), asked(checkpoint, targets=("a blue car",))
    ticks = []

    def emit(event):
        if isinstance(event, Progress) and event.stage is Stage.EDIT:
            ticks.append(event)
        if ticks and isinstance(event, Tick):
            ticks.append(event)
            if len(ticks) > 40:  # deep in the first step
                raise Cancelled

    with pytest.raises(Cancelled):
        engine.run(job_dir, request, settings, emit)
    assert sum(isinstance(event, Progress) for event in ticks) == 1
    (after,) = engine.run(job_dir, request, settings, lambda event: None)
    engine._warm.clear()
    frames = [result.edited.read_bytes() for result in (after, *fresh(job_dir, request, settings))]
    assert frames[0] == frames[1]


def fresh(job_dir, request, settings):
    """The same edit with a model that was loaded for it."""
    other = job_dir.parent / "run-2"
    other.mkdir()
    (other / files.CLIP).write_bytes((job_dir / files.CLIP).read_bytes())
    return engine.run(other, request, settings, lambda event: None)


def test_an_unknown_model_is_said_and_nothing_stays_warm(job_dir, tmp_path):
    with pytest.raises(EditError, match="nowhere"):
        engine.run(job_dir, asked("nowhere"), settings_in(tmp_path), lambda event: None)
    assert engine._warm == {}
