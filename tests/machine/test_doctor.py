"""What the doctor says, and that its self-test can fail."""

import json

import pytest
import torch

from editor import cli
from editor.diffusion import kernels
from editor.diffusion.memory import LARGEST_WINDOW
from editor.machine import doctor, selftest
from editor.machine.doctor import Finding, Report, examine
from editor.settings import Settings

CPU = Settings(device="cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The speed of the machine is not measured here: the line is there, its number is not looked at."""
    monkeypatch.setattr(doctor, "measured_speed", lambda device: 1e12)


def named(report, name):
    return next(f for f in report.findings if f.name == name)


def test_the_report_covers_what_a_person_needs_to_know(tmp_path):
    report = examine(Settings(device="cpu", data=tmp_path))
    assert "asked for with EDITOR_DEVICE" in named(report, "device").text
    assert named(report, "attention kernel").text.startswith("sdpa: PyTorch's own; xformers has no kernel for cpu")
    assert "ffmpeg" in named(report, "ffmpeg").text
    assert "GB free" in named(report, "disk").text and "GB free" in named(report, "memory").text
    assert {"model demo", "model sd15", "model sd21"} <= {f.name for f in report.findings}


def test_the_settings_in_force_are_printed(tmp_path):
    report = examine(Settings(device="cpu", data=tmp_path, max_frames=12))
    assert named(report, "EDITOR_MAX_FRAMES").text == "12 (default 480)"
    assert named(report, "EDITOR_PORT").text == "7860" and str(tmp_path) in named(report, "EDITOR_DATA").text
    assert {f.name for f in report.findings} >= {f"EDITOR_{name.upper()}" for name in vars(CPU)}


def test_the_cost_of_a_default_clip_is_counted(tmp_path):
    text = named(examine(CPU), "cost with sd15").text
    assert text.startswith(f"{LARGEST_WINDOW} keyframes, preset balanced: ") and "UNet evaluations per keyframe" in text


def test_a_missing_device_is_a_finding_not_a_crash(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    report = examine(Settings(device="cuda"))
    assert not report.healthy
    assert "EDITOR_DEVICE is 'cuda'" in named(report, "device").text


def test_a_full_disk_is_bad(tmp_path):
    report = Report(tuple(doctor._disk(Settings(data=tmp_path / "new", disk_floor_mb=10**12))))
    assert not report.healthy and "refused below" in report.findings[0].text


def test_the_command_prints_lines_or_json_and_its_exit_code_tells(monkeypatch, capsys):
    report = Report((Finding("device", "cpu", True), Finding("disk", "full", False)))
    monkeypatch.setattr(doctor, "examine", lambda settings, more, say: report)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == ["ok  device           cpu", "BAD disk             full"]
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][1] == {"name": "disk", "text": "full", "ok": False}


def test_the_selftest_proves_kernels_unet_and_one_edit(tmp_path):
    report = examine(Settings(device="cpu", data=tmp_path), more=selftest.CHECKS)
    for name in ("kernel sdpa float32", "kernel sdpa bfloat16", "UNet", "one edit"):
        assert named(report, name).ok, named(report, name).text
    assert named(report, "one edit").text.startswith("4 frames with ")


def test_the_selftest_catches_a_kernel_that_differs(monkeypatch):
    monkeypatch.setitem(kernels.KERNELS, "sdpa", lambda q, k, v, scale: kernels._plain(q, k, v, scale * 1.1))
    assert selftest.kernels_are_equal(CPU)[0].ok is False


def test_the_selftest_catches_nan(monkeypatch):
    real = selftest.random_unet

    def broken(shape):
        unet = real(shape)
        unet.conv_out.weight.data.fill_(float("nan"))
        return unet

    monkeypatch.setattr(selftest, "random_unet", broken)
    (finding,) = selftest.unet_is_finite(CPU)
    assert not finding.ok and "NaN: use EDITOR_DTYPE=bfloat16 or float32" in finding.text


def test_the_measured_speed_is_of_this_planet(monkeypatch):
    monkeypatch.undo()
    # one core of any machine since 2005 against the largest GPU: the point is the unit, not the value
    assert 1e8 < doctor.measured_speed(torch.device("cpu"), side=128, seconds=0.05) < 1e16
