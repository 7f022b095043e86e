"""The inversion cache: content keys, budget, least recently used, several processes."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import editor.stages.cache
from editor.stages.cache import InversionCache, LevelFile, content_key, file_digest

KILOBYTE = 1024


def tensors(value=0.0, kilobytes=1):
    return {"latents": torch.full((kilobytes * KILOBYTE // 4,), value)}


@pytest.fixture
def cache(tmp_path):
    return InversionCache(tmp_path / "cache", 100 * KILOBYTE)


def test_what_was_put_comes_back(cache):
    assert cache.get("a") is None
    assert cache.put("a", tensors(3.0), {"vae_psnr": 31.5}) is None
    entry = cache.get("a")
    torch.testing.assert_close(entry.tensors, tensors(3.0), rtol=0, atol=0)
    assert entry.values == {"vae_psnr": 31.5}


def test_the_key_depends_on_every_part_and_not_on_their_order():
    key = content_key(clip="x", steps=25)
    assert key == content_key(steps=25, clip="x")
    assert len({key, content_key(clip="y", steps=25), content_key(clip="x", steps=26), content_key(clip="x")}) == 4


def test_the_digest_is_of_the_bytes_not_the_name(tmp_path):
    for name, data in {"a": b"same", "b": b"same", "c": b"other"}.items():
        (tmp_path / name).write_bytes(data)
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")


def test_the_least_recently_used_leaves_first(cache):
    for i, name in enumerate("abc"):
        cache.put(name, tensors(kilobytes=30), {})
        os.utime(cache._path(name), (i, i))  # clocks of some filesystems are coarse: set the times
    cache.get("a")
    cache.put("d", tensors(kilobytes=30), {})
    assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= cache.budget


def test_what_is_larger_than_the_budget_is_not_kept_and_that_is_said(cache):
    assert "is not kept" in cache.put("a", tensors(kilobytes=101), {})
    assert cache.get("a") is None


@pytest.mark.parametrize("damage", [b"", b"no safetensors at all", None])
def test_a_damaged_file_counts_as_absent_and_goes(cache, damage):
    cache.put("a", tensors(), {})
    path = cache._path("a")
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert cache.get("a") is None
    assert not path.exists()


def test_a_full_disk_is_said_and_leaves_nothing_behind(cache, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(editor.stages.cache, "save_file", full)
    assert "disk is full" in cache.put("a", tensors(), {})
    assert list(cache.folder.iterdir()) == []


def test_a_dead_writers_leftover_goes_a_living_ones_stays(cache):
    cache.put("a", tensors(), {})
    old, new = cache.folder / ".1.safetensors", cache.folder / ".2.safetensors"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.put("b", tensors(), {})
    assert not old.exists() and new.exists()


def test_an_entry_that_is_replaced_while_it_is_read_comes_from_one_writer(cache, monkeypatch):
    cache.put("a", tensors(1.0), {"value": 1.0})
    read = Path.read_bytes

    def overtaken(path):
        content = read(path)
        cache.put("a", tensors(2.0), {"value": 2.0})
        return content

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    entry = cache.get("a")
    assert entry.tensors["latents"].unique().tolist() == [entry.values["value"]] == [1.0]


def _hammer(folder, value, done):
    """One of several processes that write and read the same few entries with a budget that forces removals."""
    cache = InversionCache(folder, 50 * KILOBYTE)
    for i in range(40):
        key = f"k{i % 4}"
        assert cache.put(key, tensors(value, kilobytes=20), {"value": value}) is None
        entry = cache.get(key)
        if entry is not None:  # the other process may have removed it; if it is there it is whole
            assert entry.tensors["latents"].unique().tolist() == [entry.values["value"]]
    done.put(value)


def test_two_processes_may_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    workers = [context.Process(target=_hammer, args=(tmp_path, float(v), done)) for v in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)  # starting a process takes a minute on a busy machine
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert not list(tmp_path.glob(".*"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 50 * KILOBYTE


# --- noise levels


def level_file(place, value=0.0):
    latents = torch.full((2, 4, 3, 5), value)
    found = LevelFile.create(place, 4, latents, np.full((2, 6, 10, 3), 7, np.uint8))
    for level in range(4):
        found[level] = latents + level
    return found


def test_levels_come_back_one_by_one_and_are_kept_by_the_cache(cache, tmp_path):
    written = level_file(tmp_path / "levels.safetensors", 3.0)
    assert len(written) == 4 and written[-1].unique().tolist() == [6.0]
    assert load_file(tmp_path / "levels.safetensors")["latents"].shape == (4, 2, 4, 3, 5), "a plain safetensors file"
    assert cache.adopt("a", tmp_path / "levels.safetensors") is None
    written[0] = written[0] + 1  # whoever has it open goes on
    found = cache.levels("a", torch.device("cpu"))
    assert [found[level].unique().tolist() for level in range(4)] == [[4.0], [4.0], [5.0], [6.0]]
    assert found.rebuilt.shape == (2, 6, 10, 3) and (found.rebuilt == 7).all()
    with pytest.raises(IndexError):
        found[4]


@pytest.mark.parametrize("damage", [b"", b"no safetensors at all", None])
def test_damaged_levels_count_as_absent_and_go(cache, tmp_path, damage):
    level_file(tmp_path / "levels.safetensors").close()
    cache.adopt("a", tmp_path / "levels.safetensors")
    path = cache._path("a")
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert cache.levels("a", torch.device("cpu")) is None
    assert not path.exists()


def test_levels_beyond_the_budget_or_for_a_full_disk_are_not_kept_and_that_is_said(cache, tmp_path, monkeypatch):
    place = tmp_path / "levels.safetensors"
    level_file(place).close()
    assert "is not kept" in InversionCache(cache.folder, 100).adopt("a", place)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(editor.stages.cache.os, "replace", full)
    monkeypatch.setattr(editor.stages.cache.shutil, "copyfile", full)
    assert "disk is full" in cache.adopt("a", place)
    assert place.exists() and list(cache.folder.iterdir()) == []
