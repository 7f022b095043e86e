"""Naming a checkpoint: the catalog, local folders, and a Hub that cannot be reached."""

import re
import shutil
import time

import pytest
from huggingface_hub import constants

from editor.diffusion import catalog
from editor.diffusion.catalog import CATALOG, locate, present
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


def test_only_safetensors_weights_and_no_code_are_fetched():
    endings = {pattern.rsplit(".", 1)[1] for pattern in catalog._FETCH}
    assert endings == {"json", "txt", "safetensors"}


def test_a_local_folder_is_named_by_its_path_and_identified_by_its_bytes(checkpoint, tmp_path):
    found = locate(str(checkpoint))
    assert found.folder == checkpoint
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
