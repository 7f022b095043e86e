"""A tiny checkpoint in the built-in model's layout, loaded once."""

import pytest

from editor.diffusion.models import load_models
from editor.settings import Settings
from tests import tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return tiny.save_checkpoint(tmp_path_factory.mktemp("evaluation") / "tiny", "demo", pndm=False)


@pytest.fixture(scope="session")
def models(checkpoint):
    return load_models(str(checkpoint), Settings(device="cpu", attention="sdpa"))
