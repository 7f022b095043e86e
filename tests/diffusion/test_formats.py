"""Checkpoints as people have them, of Stable Diffusion 1.5, 2.1 and XL: folders, files, halves, LoRAs, another VAE."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from editor import EditRequest, edit, load_models
from editor.diffusion import loading, single_file
from editor.diffusion.catalog import locate
from editor.diffusion.single_file import Header, kind_of, prediction_of
from editor.events import EditError
from editor.machine import shapes
from editor.settings import Settings
from editor.stages.cache import InversionCache
from tests import layouts
from tests.tiny import write_clip

CPU = Settings(device="cpu")
KINDS = ("sd15", "sd21", "sdxl")
SOURCE, TARGET = "a red car on the road", "a blue car on the road"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder and a single file of each kind, at small widths; the loader takes them for the true ones."""
    place = tmp_path_factory.mktemp("shelf")
    small = {kind: layouts.small(kind) for kind in KINDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "layout", small.__getitem__)
        patch.setattr(shapes, "TOKENIZER", single_file.TOKENIZER)
        for name in (single_file, loading):
            patch.setattr(name, "LAYOUTS", small)
        for kind in KINDS:
            layouts.save_folder(kind, place / kind)
            layouts.save_single_file(kind, place / kind, place / f"{kind}.safetensors")
        yield place


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


def run(models, clip, out, cache=None, **values):
    choice = {"steps": 2, "max_frames": 2, "size": 64, **values}
    request = EditRequest.from_preset(source=SOURCE, targets=(TARGET,), model=models.name, **choice)
    (result,) = edit(clip, request, models, out, cache=cache, previews=False)
    return json.loads(result.manifest.read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file_is_the_folder_it_was_made_from(shelf, kind):
    folder, file = (load_models(str(shelf / name), CPU) for name in (kind, f"{kind}.safetensors"))
    for part in ("unet", "vae", "text_encoder", *(("text_encoder_2",) if kind == "sdxl" else ())):
        found, wanted = getattr(file, part).state_dict(), getattr(folder, part).state_dict()
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert file.scheduler.config.prediction_type == folder.scheduler.config.prediction_type
    if kind == "sd15":  # the others pad with "!", which this folder's tokenizer does not
        torch.testing.assert_close(file.embed([SOURCE]), folder.embed([SOURCE]), rtol=0, atol=0)
    assert any(note.startswith(f"single file: {layouts.LAYOUTS[kind].title}, predicts") for note in file.notes)
    assert file.revision == f"sha256:{file.weights_hash}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_kind_edits_from_file_to_file(shelf, clip, tmp_path, kind, dtype):
    settings = Settings(device="cpu", dtype=dtype)
    name = kind if dtype == "float32" else f"{kind}.safetensors"
    told = run(load_models(str(shelf / name), settings), clip, tmp_path)
    assert told["model"]["dtype"] == dtype and told["numbers"]["origin"].startswith("preset balanced")
    assert "family photo" in told["numbers"]["origin"]


def lora_file(unet, path, *, text_encoder=None, rank=2, name="down_blocks"):
    """A LoRA on a UNet's attention, and on a text encoder's, with random weights, as diffusers saves it."""
    noise = torch.Generator().manual_seed(0)
    state = {}
    for prefix, model, ends in (("unet", unet, ("to_q", "to_k", "to_v")), ("text_encoder", text_encoder, ("q_proj",))):
        for layer, module in model.named_modules() if model is not None else ():
            if layer.endswith(ends) and isinstance(module, torch.nn.Linear):
                down = torch.randn(rank, module.in_features, generator=noise)
                state[f"{prefix}.{layer}.lora_A.weight"] = down
                state[f"{prefix}.{layer}.lora_B.weight"] = torch.randn(module.out_features, rank, generator=noise) * 0.1
    save_file(state, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_changes_the_weights_by_its_strength(shelf, clip, tmp_path, kind):
    plain = load_models(str(shelf / kind), CPU)
    file = lora_file(plain.unet, tmp_path / "neon.safetensors", text_encoder=plain.text_encoder)
    changed = load_models(str(shelf / kind), CPU, loras={str(file): 0.5})
    state = load_file(file)
    for part, model, before in (
        ("unet", changed.unet, plain.unet),
        ("text_encoder", changed.text_encoder, plain.text_encoder),
    ):
        layers = {name.split(".", 1)[1].rsplit(".lora", 1)[0] for name in state if name.startswith(f"{part}.")}
        assert layers and set(model.state_dict()) == set(before.state_dict()), "merged: no layer of peft's is left"
        for layer in layers:
            down, up = (state[f"{part}.{layer}.lora_{half}.weight"] for half in "AB")
            wanted = before.get_submodule(layer).weight + 0.5 * up @ down
            torch.testing.assert_close(model.get_submodule(layer).weight, wanted, rtol=0, atol=1e-5)  # float32
    assert changed.additions[0].startswith(f"{file} sha256:") and changed.additions[0].endswith(" x 0.5")
    cache = InversionCache(tmp_path / "cache", 10**8)
    assert not run(plain, clip, tmp_path / "plain", cache=cache)["inversion_cached"]
    told = run(changed, clip, tmp_path / "out", cache=cache, loras={str(file): 0.5})
    assert not told["inversion_cached"], "a LoRA makes another model"
    assert told["model"]["additions"] == list(changed.additions)


def test_several_loras_add_up_and_those_of_the_folder_are_named_without_a_path(shelf, tmp_path):
    plain = load_models(str(shelf / "sd15"), CPU)
    for name in ("one", "two"):
        lora_file(plain.unet, tmp_path / f"{name}.safetensors")
    settings = Settings(device="cpu", loras=tmp_path)
    both = load_models(str(shelf / "sd15"), settings, loras={"one": 0.25, "two": 0.5})
    once = load_models(str(shelf / "sd15"), settings, loras={"one": 0.75})  # both have the same weights
    torch.testing.assert_close(both.unet.state_dict(), once.unet.state_dict(), rtol=0, atol=1e-5)  # float32


def test_a_lora_for_another_base_is_refused_in_words(shelf, tmp_path):
    file = lora_file(load_models(str(shelf / "sdxl"), CPU).unet, tmp_path / "xl.safetensors")
    with pytest.raises(EditError, match=r"was made for a model that reads text of width 48, and this model is .* 16"):
        load_models(str(shelf / "sd15"), CPU, loras={str(file): 1.0})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"first_stage_model.x": torch.zeros(1)}, "contains no LoRA"),
        (None, "There is no LoRA"),
        (b"\x80\x02}q\x00.", "is not a safetensors file"),
    ],
)
def test_what_is_no_lora_is_refused_in_words(shelf, tmp_path, content, said):
    path = tmp_path / "some.safetensors"
    if isinstance(content, dict):
        save_file(content, path)
    elif content:
        path.write_bytes(content)
    with pytest.raises(EditError, match=said):
        load_models(str(shelf / "sd15"), CPU, loras={str(path): 1.0})


def test_weights_in_half_precision_serve_where_there_are_no_others(shelf, tmp_path):
    copy = shutil.copytree(shelf / "sd15", tmp_path / "copy")
    for part, name in (
        ("unet", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("vae", "diffusion_pytorch_model"),
    ):
        whole = copy / part / f"{name}.safetensors"
        save_file(
            {n: v.half() for n, v in load_file(whole).items()},
            copy / part / f"{name}.fp16.safetensors",
            {"format": "pt"},
        )
        whole.unlink()
    halved, whole = load_models(str(copy), CPU), load_models(str(shelf / "sd15"), CPU)
    torch.testing.assert_close(halved.unet.state_dict(), whole.unet.state_dict(), rtol=1e-3, atol=1e-4)  # 10 bits
    assert halved.unet.dtype == halved.vae.dtype == torch.float32


def test_another_vae_comes_from_a_folder_or_a_file(shelf, tmp_path):
    other = load_models(str(shelf / "sd21"), CPU).vae.state_dict()
    for given in (shelf / "sd21" / "vae", shelf / "sd21", shelf / "sd21.safetensors"):
        found = load_models(str(shelf / "sd15"), CPU, vae=str(given))
        torch.testing.assert_close(found.vae.state_dict(), other, rtol=0, atol=0)
        assert found.additions == (str(given),)
    with pytest.raises(EditError, match="There is no VAE"):
        load_models(str(shelf / "sd15"), CPU, vae=str(tmp_path / "none.safetensors"))


def test_clip_skip_leaves_out_the_last_layers(shelf):
    models = load_models(str(shelf / "sd15"), CPU)
    inner = getattr(models.text_encoder, "text_model", models.text_encoder)
    assert not torch.equal(models.embed([SOURCE], 1), models.embed([SOURCE]))
    layers = inner.encoder.layers
    inner.encoder.layers = layers[:-1]
    torch.testing.assert_close(models.embed([SOURCE]), load_models(str(shelf / "sd15"), CPU).embed([SOURCE], 1))
    inner.encoder.layers = layers
    with pytest.raises(EditError, match=r"clip_skip is 3.*has 2 layers"):
        models.embed([SOURCE], 3)


def test_xls_embedding_is_both_encoders_and_the_pooled_one(shelf):
    models = load_models(str(shelf / "sdxl"), CPU)
    found = models.embed([SOURCE, ""])
    assert found.shape == (2, 78, 48)
    assert torch.equal(found[1], torch.zeros(78, 48)), "the empty prompt is all zeros"
    ids = models.tokenizer_2(SOURCE, padding="max_length", max_length=77, return_tensors="pt").input_ids
    second = models.text_encoder_2(ids, output_hidden_states=True)
    torch.testing.assert_close(found[0, :77, 16:], second.hidden_states[-2][0])
    torch.testing.assert_close(found[0, 77, :32], second.text_embeds[0])


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (
            {"model.diffusion_model.input_blocks.0.0.weight": (4, 9, 3, 3), "cond_stage_model.transformer.x": (1,)},
            "9 channels",
        ),
        ({"model.diffusion_model.x": (1,), "conditioner.embedders.0.model.x": (1,)}, "refiner"),
        ({"lora_unet_x.lora_down.weight": (1,)}, "it is a LoRA. Give it with --lora"),
        ({"decoder.conv_in.weight": (1,), "encoder.conv_in.weight": (1,)}, "it is a VAE alone. Give it with --vae"),
        ({"transformer_blocks.0.x": (1,)}, "of another family"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_what_it_is(tmp_path, shape, said):
    with pytest.raises(EditError, match=said):
        kind_of(tmp_path / "some.safetensors", Header(shape, {}))


@pytest.mark.parametrize(
    ("name", "kind", "header", "predicts"),
    [
        ("v2-1_768-ema", "sd21", Header({}, {}), "v_prediction"),
        ("v2-1_512-ema", "sd21", Header({}, {}), "epsilon"),
        ("x", "sdxl", Header({}, {}), "epsilon"),
        ("x", "sdxl", Header({"v_pred": ()}, {}), "v_prediction"),
        ("x", "sd15", Header({}, {"modelspec.prediction_type": "v"}), "v_prediction"),
    ],
)
def test_what_a_file_predicts_is_told_by_metadata_marker_or_name(tmp_path, name, kind, header, predicts):
    assert prediction_of(tmp_path / f"{name}.safetensors", header, layouts.LAYOUTS[kind]) == predicts


def test_damaged_files_are_refused_within_a_second_and_nothing_is_half_loaded(shelf, tmp_path):
    whole = (shelf / "sd15.safetensors").read_bytes()
    for name, content, said in (
        ("cut", whole[:-1000], "cut short or damaged"),
        ("pickle", b"\x80\x02}q\x00.", "renamed pickle"),
        ("empty", b"", "is not a safetensors file"),
        ("nonsense", b"\x10\x00\x00\x00\x00\x00\x00\x00" + b"not a header at all", "is not a safetensors file"),
    ):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(EditError, match=said):
            load_models(str(path), CPU)


def test_a_file_that_lacks_a_tensor_is_refused(shelf, tmp_path):
    state = load_file(shelf / "sd15.safetensors")
    state.pop("model.diffusion_model.out.2.bias")
    save_file(state, tmp_path / "some.safetensors")
    with pytest.raises(EditError, match=r"of its UNet2DConditionModel 1 tensors are missing"):
        load_models(str(tmp_path / "some.safetensors"), CPU)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin"])
def test_pickles_are_never_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(EditError, match="never read"):
        locate(str(tmp_path / name))


def test_a_tokenizer_without_a_length_is_capped_at_the_text_encoders(shelf, tmp_path):
    copy = shutil.copytree(shelf / "sd15", tmp_path / "copy")
    config = json.loads((copy / "tokenizer" / "tokenizer_config.json").read_text())
    config.pop("model_max_length")
    (copy / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    models = load_models(str(copy), CPU)
    assert models.tokenizer.model_max_length == 77
    assert models.embed([SOURCE]).shape == (1, 77, 16)


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("scheduler/scheduler_config.json", {"_class_name": "LCMScheduler"}, "its scheduler is LCMScheduler"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"},
            "as Turbo's does",
        ),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "takes the guidance scale as an input"),
    ],
)
def test_models_distilled_for_few_steps_are_refused_with_the_reason(shelf, tmp_path, file, values, said):
    copy = shutil.copytree(shelf / "sd15", tmp_path / "copy")
    (copy / file).write_text(json.dumps({**json.loads((copy / file).read_text()), **values}))
    with pytest.raises(EditError, match=rf"distilled for few steps \(.*{said}.*cannot be inverted"):
        load_models(str(copy), CPU)


def test_a_name_can_say_that_a_model_was_distilled(shelf, tmp_path):
    path = tmp_path / "DreamModel_XL-Turbo_v2.safetensors"
    shutil.copy(shelf / "sd15.safetensors", path)
    with pytest.raises(EditError, match="its name says “Turbo”"):
        load_models(str(path), CPU)
