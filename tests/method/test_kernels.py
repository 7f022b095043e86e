"""The attention kernels agree, and the choice among them is explained."""

import sys
import types

import pytest
import torch

from editor.diffusion import kernels
from editor.diffusion.kernels import KernelChoice, choose_kernel
from editor.events import EditError

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def draw(batch: int, tokens: int, heads: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(batch, tokens, heads, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def stand_in(monkeypatch):
    """An xformers whose kernel is written from its documentation: (B, M, H, K) in and out, `scale` by keyword."""
    calls = []

    def memory_efficient_attention(query, key, value, attn_bias=None, p=0.0, scale=None):
        calls.append((tuple(query.shape), tuple(key.shape), scale))
        scores = torch.einsum("bmhk,bnhk->bhmn", query, key) * scale
        return torch.einsum("bhmn,bnhk->bmhk", scores.softmax(-1), value)

    package, ops = types.ModuleType("xformers"), types.ModuleType("xformers.ops")
    package.ops, ops.memory_efficient_attention = ops, memory_efficient_attention
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    return calls


@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize("keys", [1, 77, 130])
def test_sdpa_equals_plain(heads, keys):
    query, key, value = draw(2, 33, heads, 20, 0), draw(2, keys, heads, 20, 1), draw(2, keys, heads, 20, 2)
    plain = KernelChoice("plain", "").attend(query, key, value, 0.3)
    sdpa = KernelChoice("sdpa", "").attend(query, key, value, 0.3)
    assert plain.shape == sdpa.shape == query.shape
    assert torch.allclose(plain, sdpa, atol=1e-5)  # float32 sums of up to 130 terms of order one


def test_plain_in_slices_is_plain(monkeypatch):
    query, key, value = draw(2, 33, 2, 8, 0), draw(2, 40, 2, 8, 1), draw(2, 40, 2, 8, 2)
    whole = KernelChoice("plain", "").attend(query, key, value, 0.3)
    monkeypatch.setattr(kernels, "PLAIN_SCORES", 5 * 2 * 2 * 40)  # five queries at a time
    assert torch.allclose(KernelChoice("plain", "").attend(query, key, value, 0.3), whole, atol=1e-6)  # float32


def test_xformers_is_called_with_its_own_layout_and_scale(stand_in):
    query, key, value = draw(2, 33, 3, 20, 0), draw(2, 77, 3, 20, 1), draw(2, 77, 3, 20, 2)
    found = KernelChoice("xformers", "").attend(query, key, value, 0.3)
    assert stand_in == [((2, 33, 3, 20), (2, 77, 3, 20), 0.3)]
    assert torch.allclose(found, KernelChoice("plain", "").attend(query, key, value, 0.3), atol=1e-5)  # float32


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_xformers_equals_plain_on_cuda(dtype):
    choice = choose_kernel(CUDA, dtype, "xformers")
    query, key, value = (draw(2, 64, 8, 40, seed).to(CUDA, dtype) for seed in range(3))
    found = choice.attend(query, key, value, 40**-0.5)
    wanted = KernelChoice("plain", "").attend(query.float(), key.float(), value.float(), 40**-0.5)
    assert torch.allclose(found.float(), wanted, atol=5e-3)  # half precision: 2^-10 on sums of order one


def test_upcast_keeps_half_precision_from_overflowing():
    query, key, value = (draw(1, 8, 1, 16, seed).half() * 200 for seed in range(3))
    scores = query[0, :, 0] @ key[0, :, 0].T
    assert not torch.isfinite(scores).all(), "the test must overflow without the upcast"
    found = KernelChoice("plain", "").attend(query, key, value, 0.25, upcast=True)
    wanted = KernelChoice("plain", "").attend(query.float(), key.float(), value.float(), 0.25)
    assert found.dtype == torch.float16
    assert torch.allclose(found.float(), wanted, rtol=2e-3)  # rounding of the result to half precision


def test_the_cpu_gets_sdpa_and_the_reason():
    choice = choose_kernel(CPU, torch.float32)
    assert choice.name == "sdpa"
    assert "xformers has no kernel for cpu" in choice.reason


@pytest.mark.parametrize("asked", ["sdpa", "plain"])
def test_a_kernel_can_be_asked_for(asked):
    choice = choose_kernel(CPU, torch.float32, asked)
    assert choice.name == asked
    assert f"EDITOR_ATTENTION={asked}" in choice.reason


def test_xformers_by_name_on_the_cpu_is_refused_with_a_way_out():
    with pytest.raises(EditError, match=r"needs a CUDA device; this is cpu.*auto or sdpa"):
        choose_kernel(CPU, torch.float32, "xformers")


def test_on_cuda_a_working_xformers_is_chosen_and_a_broken_one_explained(monkeypatch):
    monkeypatch.setattr(kernels, "_trouble_with_xformers", lambda *asked: None)
    assert choose_kernel(CUDA, torch.float16).name == "xformers"
    monkeypatch.setattr(kernels, "_trouble_with_xformers", lambda *asked: "no kernel image")
    fallback = choose_kernel(CUDA, torch.float16)
    assert fallback.name == "sdpa"
    assert "no kernel image" in fallback.reason
    with pytest.raises(EditError, match=r"no kernel image.*auto or sdpa"):
        choose_kernel(CUDA, torch.float16, "xformers")


def test_the_trial_call_accepts_a_right_kernel_and_names_what_is_wrong(stand_in, monkeypatch):
    assert kernels._trouble_with_xformers(CPU, torch.float32, (40, 8)) is None

    def refuses(*args, **kwargs):
        raise NotImplementedError("no operator found\nmore lines")

    monkeypatch.setattr(sys.modules["xformers.ops"], "memory_efficient_attention", refuses)
    assert kernels._trouble_with_xformers(CPU, torch.float32, (40,)) == "no operator found (head size 40, float32)"
    monkeypatch.setattr(
        sys.modules["xformers.ops"], "memory_efficient_attention", lambda q, k, v, scale: v + 0 * (q + k)
    )
    assert "differs" in kernels._trouble_with_xformers(CPU, torch.float32, (40,))


def test_the_trial_covers_every_head_size_and_the_way_back(stand_in, monkeypatch):
    real = sys.modules["xformers.ops"].memory_efficient_attention

    def trouble(kernel):
        monkeypatch.setattr(sys.modules["xformers.ops"], "memory_efficient_attention", kernel)
        return kernels._trouble_with_xformers(CPU, torch.float32, (40, 160))

    def small_heads_only(query, key, value, scale):
        if query.shape[-1] > 128:
            raise NotImplementedError("at most 128")
        return real(query, key, value, scale=scale)

    assert trouble(small_heads_only) == "at most 128 (head size 160, float32)"
    assert "grad" in trouble(lambda q, k, v, scale: real(q, k, v, scale=scale).detach())


def test_a_kernel_that_refuses_at_run_time_is_replaced_with_a_note(stand_in, monkeypatch):
    def refuses(*args, **kwargs):
        raise NotImplementedError("compute capability 12.0")

    monkeypatch.setattr(sys.modules["xformers.ops"], "memory_efficient_attention", refuses)
    choice = KernelChoice("xformers", "")
    query, key, value = draw(2, 33, 3, 20, 0), draw(2, 77, 3, 20, 1), draw(2, 77, 3, 20, 2)
    for _ in range(2):
        found = choice.attend(query, key, value, 0.3)
        assert torch.allclose(found, KernelChoice("plain", "").attend(query, key, value, 0.3), atol=1e-5)  # float32
    assert choice.refusals == ["xformers could not serve a call, so SDPA took over: compute capability 12.0"]


def test_a_kernel_without_memory_is_not_taken_for_one_that_refuses(stand_in, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sys.modules["xformers.ops"], "memory_efficient_attention", full)
    choice = KernelChoice("xformers", "")
    with pytest.raises(torch.OutOfMemoryError):
        choice.attend(*(draw(1, 8, 1, 16, seed) for seed in range(3)), 0.25)
    assert choice.refusals == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [40, 160])
def test_sdpa_passes_the_trial_forward_and_backward(dtype, size):
    assert kernels.kernel_error(kernels.KERNELS["sdpa"], size, CPU, dtype) < kernels.TOLERANCE[dtype]


def test_only_the_plain_kernel_casts_up(monkeypatch):
    seen = {}
    for name in ("plain", "sdpa"):
        monkeypatch.setitem(kernels.KERNELS, name, lambda q, k, v, s, name=name: seen.update({name: q.dtype}) or q)
    inputs = [draw(1, 8, 1, 16, seed).bfloat16() for seed in range(3)]
    for name in ("plain", "sdpa"):
        assert KernelChoice(name, "").attend(*inputs, 0.25, upcast=True).dtype == torch.bfloat16
    assert seen == {"plain": torch.float32, "sdpa": torch.bfloat16}
