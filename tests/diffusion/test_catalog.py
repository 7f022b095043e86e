"""Naming a checkpoint: the catalog, local folders, and a Hub that cannot be reached."""

import re
import shutil
import time
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from editor.diffusion.catalog import CATALOG, locate, present
from editor.diffusion.hub import choose_files, hub_id
from editor.events import EditError
from tests import tiny


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny.save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_the_catalog_has_the_promised_names_and_pins_every_remote_one():
    assert set(CATALOG) == {"demo", "sd14", "sd15", "sd21-base", "sd21"}
    remote = [e for e in CATALOG.values() if e.repo]
    assert len(remote) == 4
    assert all(re.fullmatch(r"[0-9a-f]{40}", e.revision) for e in remote)


PUBLISHED = (
    "README.md model_index.json tokenizer/vocab.json tokenizer/merges.txt tokenizer/tokenizer_config.json "
    "scheduler/scheduler_config.json text_encoder/config.json text_encoder/model.safetensors "
    "text_encoder/pytorch_model.bin text_encoder/model.fp16.safetensors unet/config.json vae/config.json "
    "unet/diffusion_pytorch_model.safetensors unet/diffusion_pytorch_model.fp16.safetensors "
    "unet/diffusion_pytorch_model.bin unet/diffusion_pytorch_model.non_ema.safetensors unet/code.py "
    "vae/diffusion_pytorch_model.safetensors v1-5-pruned-emaonly.safetensors v1-5-pruned.ckpt"
).split()


def test_only_safetensors_weights_and_no_code_are_fetched_and_each_part_once():
    wanted = choose_files("sd15", PUBLISHED, half=False)
    assert {name.rsplit(".", 1)[1] for name in wanted} == {"json", "txt", "safetensors"}
    assert [name for name in wanted if name.endswith(".safetensors")] == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    halved = choose_files("sd15", PUBLISHED, half=True)
    assert set(halved) ^ set(wanted) == {
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    }


def test_a_repository_without_safetensors_is_refused_by_the_part():
    with pytest.raises(EditError, match="no safetensors weights for its unet"):
        choose_files(
            "sd15", [f for f in PUBLISHED if not f.startswith("unet/") or not f.endswith("safetensors")], False
        )


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("org/some-model", ("org/some-model", "main")),
        ("org/some-model@fp16", ("org/some-model", "fp16")),
        ("org/some.model@refs/pr/3", ("org/some.model", "refs/pr/3")),
        ("sd15", None),
        ("/org/model", None),
        ("a/b/c", None),
        ("../b", None),
    ],
)
def test_ids_of_the_hub_are_told_from_other_names(name, parsed):
    assert hub_id(name) == parsed


@pytest.fixture
def hub(monkeypatch, checkpoint):
    """A Hub with one repository, whose commit is all sevens; what was asked of it."""
    asked = []
    files = [str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*") if p.is_file()]

    def model_info(self, repo, revision, timeout):
        asked.append((repo, revision))
        return SimpleNamespace(sha="7" * 40, siblings=[SimpleNamespace(rfilename=name) for name in files])

    def download(repo, revision, allow_patterns=None, etag_timeout=None, local_files_only=False):
        if local_files_only:
            raise LocalEntryNotFoundError("never fetched")
        assert revision == "7" * 40 and set(allow_patterns) <= set(files)
        return str(checkpoint)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


@pytest.mark.parametrize(("name", "revision"), [("org/model", "main"), ("org/model@v2", "v2")])
def test_a_model_of_the_hub_is_recorded_with_the_commit_that_its_revision_means(hub, checkpoint, name, revision):
    found = locate(name)
    assert (found.path, found.revision) == (checkpoint, "7" * 40)
    assert hub == [("org/model", revision)]


@pytest.mark.parametrize("kind", [RepositoryNotFoundError, RevisionNotFoundError])
def test_a_model_that_is_not_on_the_hub_is_said_to_be_none(hub, monkeypatch, kind):
    def nothing(*args, **kwargs):
        raise kind("404", response=SimpleNamespace(status_code=404, headers={}, request=None))

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", nothing)
    with pytest.raises(EditError, match=r"no model 'org/nothing@main' on the Hugging Face Hub, or it is private"):
        locate("org/nothing@main")


def test_a_local_folder_is_named_by_its_path_and_identified_by_its_bytes(checkpoint, tmp_path):
    found = locate(str(checkpoint))
    assert found.path == checkpoint
    assert found.revision == f"sha256:{found.weights_hash}"
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    assert locate(str(copy)).weights_hash == found.weights_hash
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("epsilon", "v_prediction"))
    assert locate(str(copy)).weights_hash != found.weights_hash


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(EditError, match=r"no model 'sd99'.*demo, sd14, sd15, sd21-base, sd21"):
        locate("sd99")


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.safetensors missing"),
        ("scheduler", "scheduler/ missing"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_by_its_name(checkpoint, tmp_path, remove, said):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    part = copy / remove
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(EditError, match=said):
        locate(str(copy))


def test_pickled_weights_do_not_count(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(EditError, match="pickled weights are never read"):
        locate(str(copy))


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A Hub address that refuses connections, and an empty download cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")


def test_an_unreachable_model_gives_one_sentence_with_two_ways_out(no_hub):
    began = time.monotonic()
    with pytest.raises(EditError, match=r"'sd15'.*could not be fetched.*hf auth login.*hf download.*--model demo"):
        locate("sd15")
    # the hub client alone retries for 23 s; the limit leaves room for a busy machine
    assert time.monotonic() - began < 15


def test_a_remote_model_that_was_never_fetched_is_not_present(no_hub):
    assert not present("sd15")
