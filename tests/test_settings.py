"""Settings of the installation from environment variables."""

import subprocess
import sys
from dataclasses import fields

import pytest

from editor.events import EditError
from editor.settings import ROOT, Settings


def test_nothing_set_gives_the_defaults():
    assert Settings.from_env({}) == Settings()


def test_empty_text_counts_as_not_set():
    assert Settings.from_env({"EDITOR_PORT": ""}) == Settings()


def test_every_type_is_read(tmp_path):
    found = Settings.from_env(
        {
            "EDITOR_PORT": "8000",
            "EDITOR_SHARE": "yes",
            "EDITOR_MODELS": "demo, sd15,",
            "EDITOR_DATA": str(tmp_path),
            "EDITOR_MAX_SECONDS": "12.5",
            "EDITOR_OFFLOAD": "model",
        }
    )
    assert (found.port, found.share, found.models) == (8000, True, ("demo", "sd15"))
    assert (found.data, found.max_seconds, found.offload) == (tmp_path, 12.5, "model")


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("EDITOR_PORT", "many", "must be a number"),
        ("EDITOR_SHARE", "perhaps", "0 or 1"),
        ("EDITOR_DEVICE", "tpu", "auto, cpu, cuda, mps"),
        ("EDITOR_SAFETY", "maybe", "on, off"),
    ],
)
def test_unusable_values_name_the_variable(variable, text, said):
    with pytest.raises(EditError, match=f"{variable} is '{text}'.*{said}"):
        Settings.from_env({variable: text})


def test_a_space_is_served_to_everybody_and_links_to_itself():
    found = Settings.from_env({"SPACE_ID": "someone/recast", "SPACE_HOST": "someone-recast.hf.space"})
    assert (found.host, found.public_url) == ("0.0.0.0", "https://someone-recast.hf.space")
    set_by_hand = {"SPACE_HOST": "someone-recast.hf.space", "EDITOR_PUBLIC_URL": "https://example.org"}
    assert Settings.from_env(set_by_hand).public_url == "https://example.org"


def test_every_setting_explains_itself():
    assert all(f.metadata["help"].endswith(".") for f in fields(Settings))


@pytest.mark.parametrize("module", ["editor", "editor.request", "editor.settings", "editor.events", "editor.cli"])
def test_no_torch_is_imported(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
