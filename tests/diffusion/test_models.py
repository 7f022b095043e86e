"""Loading a checkpoint: parts, device, precision, scheduler, offloading, refusals."""

import dataclasses
import json
import shutil

import pytest
import torch

from editor.diffusion import models as loading
from editor.diffusion.models import choose_device, choose_dtype, load_models
from editor.events import EditError
from editor.settings import Settings
from tests import tiny

CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A v-prediction checkpoint with the PNDM scheduler config that SD 1.x ships."""
    return tiny.save_checkpoint(tmp_path_factory.mktemp("checkpoint"), prediction="v_prediction", pndm=True)


def changed(checkpoint, tmp_path, file, **values):
    """A copy of the checkpoint in which `file`, a JSON object, has other values."""
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    path = copy / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return str(copy)


def test_a_checkpoint_loads_with_a_pndm_config_as_ddim(checkpoint):
    models = load_models(str(checkpoint), CPU)
    assert json.loads((checkpoint / "scheduler/scheduler_config.json").read_text())["_class_name"] == "PNDMScheduler"
    config = models.scheduler.config
    assert (config.prediction_type, config.beta_schedule) == ("v_prediction", "scaled_linear")
    assert (config.set_alpha_to_one, config.clip_sample, config.steps_offset) == (False, False, 1)
    assert config.timestep_spacing == "leading"
    assert (models.vae_factor, models.multiple, models.native_size) == (8, 64, 128)


def test_the_weights_are_the_files_and_need_no_gradient(checkpoint):
    models = load_models(str(checkpoint), CPU)
    wanted = tiny.components(prediction="v_prediction")
    for part in ("unet", "vae", "text_encoder"):
        found = getattr(models, part)
        torch.testing.assert_close(found.state_dict(), getattr(wanted, part).state_dict(), rtol=0, atol=0)
        assert not found.training and not any(p.requires_grad for p in found.parameters())


def test_the_demo_layout_tells_its_own_sizes(tmp_path):
    models = load_models(str(tiny.save_checkpoint(tmp_path, "demo", pndm=False)), CPU)
    assert (models.vae_factor, models.multiple, models.native_size) == (4, 16, 32)


def test_every_choice_is_noted_with_its_reason(checkpoint):
    notes = load_models(str(checkpoint), CPU).notes
    assert any(n.startswith("device cpu: asked for with EDITOR_DEVICE") for n in notes)
    assert any(n.startswith("precision float32: ") for n in notes)
    assert any(n.startswith("attention kernel sdpa: ") for n in notes)
    assert any("safety checker: this checkpoint has none" in n for n in notes)


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EditError, match=r"EDITOR_DEVICE is 'cuda'.*Found:.*cpu"):
        choose_device("cuda")


def test_the_precision_follows_the_device_unless_it_is_asked_for():
    assert choose_dtype(torch.device("cuda"))[0] == torch.float16
    assert choose_dtype(torch.device("cpu"))[0] == torch.float32
    for kind in ("cpu", "cuda"):
        assert choose_dtype(torch.device(kind), "bfloat16") == (torch.bfloat16, "asked for with EDITOR_DTYPE")


def test_the_kernel_is_tried_at_the_head_sizes_of_the_unet(checkpoint, monkeypatch):
    assert loading.head_sizes(tiny.unet("sd15")) == (4, 8)
    assert loading.head_sizes(tiny.unet("sd21")) == (4, 8)
    seen = []
    choose = loading.choose_kernel
    monkeypatch.setattr(loading, "choose_kernel", lambda *a: seen.append(a) or choose(*a))
    load_models(str(checkpoint), dataclasses.replace(CPU, dtype="bfloat16"))
    assert seen == [(torch.device("cpu"), torch.bfloat16, "auto", (4, 8))]


def test_shards_load_as_one(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tiny.components().unet.save_pretrained(copy / "unet", max_shard_size="100KB")
    assert len(list((copy / "unet").glob("*.safetensors"))) > 1
    found = load_models(str(copy), CPU).unet.state_dict()
    torch.testing.assert_close(found, tiny.components().unet.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("unet/config.json", {"_class_name": "UNet3DConditionModel"}, r"another family \(UNet3DConditionModel\)"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "another family"),
        ("unet/config.json", {"cross_attention_dim": 64}, "cannot be (loaded|used)"),
    ],
)
def test_checkpoints_of_another_kind_are_refused_in_words(checkpoint, tmp_path, file, values, said):
    with pytest.raises(EditError, match=said):
        load_models(changed(checkpoint, tmp_path, file, **values), CPU)


def test_an_inpainting_unet_is_refused_in_words(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    tiny.unet(in_channels=9).save_pretrained(copy / "unet")
    with pytest.raises(EditError, match="takes 9 channels and its VAE gives 4"):
        load_models(str(copy), CPU)


def test_damaged_weights_are_refused_in_words(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(EditError, match="cannot be loaded"):
        load_models(str(copy), CPU)


def test_a_damaged_scheduler_config_is_named(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(EditError, match=r"scheduler_config.json' cannot be read as JSON"):
        load_models(str(copy), CPU)


def test_offloading_on_the_cpu_is_said_to_be_useless(checkpoint):
    notes = load_models(str(checkpoint), dataclasses.replace(CPU, offload="model")).notes
    assert any("no effect on the CPU" in n for n in notes)


class Moved(torch.nn.Module):
    """Notes where it is sent, and goes there."""

    def __init__(self, name, log):
        super().__init__()
        self.name, self.log = name, log
        self.weight = torch.nn.Parameter(torch.zeros(1))  # accelerate asks where the weights are

    def to(self, device):
        self.log.append(f"{self.name} to {torch.device(device).type}")
        self.weight = torch.nn.Parameter(torch.zeros(1, device=device))
        return self

    def forward(self, x):
        return x


def test_offloading_keeps_one_part_on_the_device_at_a_time():
    log = []
    first, second = Moved("text", log), Moved("unet", log)
    loading.offload([first, second], torch.device("meta"))  # stands in for a GPU: the inputs follow there
    assert set(log) == {"text to cpu", "unet to cpu"}
    log.clear()
    assert first(torch.zeros(1)).device.type == "meta"
    second(torch.zeros(1))
    assert log == ["text to meta", "text to cpu", "unet to meta"]


def test_an_offloaded_vae_is_fetched_also_by_encode_and_decode():
    """These are not `forward`, which is where accelerate hooks in; diffusers calls the hook itself."""
    vae = tiny.vae()
    loading.offload([vae], torch.device("meta"))
    vae.encode(torch.zeros(1, 3, 32, 32, device="meta"))
    assert next(vae.parameters()).device.type == "meta"


def test_only_the_loader_names_a_device():
    """A second place that decides would make the device depend on which one runs."""
    from editor.settings import ROOT

    named = [
        path.name
        for folder in ("diffusion", "method")
        for path in (ROOT / "editor" / folder).glob("*.py")
        if any(text in path.read_text() for text in ('"cuda"', '"cpu"', ".cuda()", 'device("'))
    ]
    # kernels.py and memory.py ask what kind of device they were given, flops.py counts on the one without memory
    assert set(named) <= {"models.py", "kernels.py", "memory.py", "flops.py"}
