"""Which attention kernel is used, why, and the one call that runs it.

Tensors have the layout (B, N, heads, d) that linear projections give without a copy, so that frames fold into one
sequence as a view. Only this file imports xformers, and only when a CUDA device will use it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from editor.events import EditError, is_out_of_memory

log = logging.getLogger(__name__)

Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]

PLAIN_SCORES = 2**26
"""Most scores that the plain kernel holds at once (256 MB in float32); it walks over the queries in slices."""


@dataclass(frozen=True)
class KernelChoice:
    """A kernel's name (xformers, sdpa or plain) and the reason for it in words, for log and manifest.

    `refusals`: what xformers said where it could not serve a call after all, once; from then on SDPA serves them all.
    """

    name: str
    reason: str
    refusals: list[str] = field(default_factory=list, compare=False)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, *, upcast: bool = False
    ) -> torch.Tensor:
        """softmax(query key^T scale) value for query (B, N, heads, d), key and value (B, M, heads, d).

        With `upcast` the plain kernel works in float32, as SD 2.1 needs in fp16, and gives back the query's dtype.
        Fused kernels accumulate in float32 by themselves.
        """
        if self.name == "xformers" and not self.refusals:
            try:
                return KERNELS["xformers"](query, key, value, scale)
            except (NotImplementedError, ValueError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                self.refusals.append(f"xformers could not serve a call, so SDPA took over: {_first_line(error)}")
                log.warning(self.refusals[0])
        if self.name == "plain" and upcast and query.dtype.itemsize <= 2:
            return KERNELS["plain"](query.float(), key.float(), value.float(), scale).to(query.dtype)
        return KERNELS["plain" if self.name == "plain" else "sdpa"](query, key, value, scale)


SDPA = KernelChoice("sdpa", "PyTorch's own, used when nothing else was chosen")


HEAD_SIZES = (40, 64, 80, 160)
"""Those of Stable Diffusion 1.5, 2.1 and XL."""


def choose_kernel(
    device: torch.device, dtype: torch.dtype, asked: str = "auto", head_sizes: Sequence[int] = HEAD_SIZES
) -> KernelChoice:
    """Choose for weights of `dtype` and attention of these `head_sizes` on `device`; `asked` is `Settings.attention`.

    Raises `EditError` when xformers was asked for by name and cannot serve here.
    """
    if asked in ("sdpa", "plain"):
        choice = KernelChoice(asked, f"asked for with EDITOR_ATTENTION={asked}")
    elif device.type != "cuda":
        if asked == "xformers":
            raise EditError(
                f"EDITOR_ATTENTION is 'xformers', which needs a CUDA device; this is {device.type}. Use auto or sdpa."
            )
        choice = KernelChoice("sdpa", f"PyTorch's own; xformers has no kernel for {device.type}")
    else:
        choice = _choose_on_cuda(device, dtype, asked, head_sizes)
    log.debug("attention kernel %s: %s", choice.name, choice.reason)
    return choice


def _choose_on_cuda(device: torch.device, dtype: torch.dtype, asked: str, head_sizes: Sequence[int]) -> KernelChoice:
    """Try xformers on the device with small calls; fall back to SDPA unless it was asked for by name."""
    trouble = _trouble_with_xformers(device, dtype, head_sizes)
    if trouble is None:
        why = (
            "asked for with EDITOR_ATTENTION=xformers" if asked == "xformers" else "it is installed and serves this GPU"
        )
        return KernelChoice("xformers", why)
    if asked == "xformers":
        raise EditError(f"EDITOR_ATTENTION is 'xformers', which does not work here: {trouble}. Use auto or sdpa.")
    return KernelChoice("sdpa", f"PyTorch's own; xformers does not work here: {trouble}")


def _trouble_with_xformers(device: torch.device, dtype: torch.dtype, head_sizes: Sequence[int]) -> str | None:
    """One sentence on why xformers cannot serve `device`, or None when small calls agree with the plain kernel.

    Tried are all head sizes, forward and backward, which null text needs.
    """
    for size in head_sizes:
        try:
            worst = kernel_error(_xformers, size, device, dtype)
        except (ImportError, OSError, RuntimeError, ValueError) as error:  # "not implemented" is a RuntimeError
            return f"{_first_line(error)} (head size {size}, {str(dtype)[6:]})"
        if worst > TOLERANCE[dtype]:
            return f"its result differs from the plain one by {worst:.1e} (head size {size}, {str(dtype)[6:]})"
    return None


TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Largest difference of two kernels on outputs and gradients of order one: rounding of 23, 10 or 7 mantissa bits."""


def kernel_error(kernel: Kernel, head_size: int, device: torch.device, dtype: torch.dtype) -> float:
    """Largest difference of `kernel` from the definition in float32: its result, and the gradients of all inputs.

    On random input of 2 rows, 256 tokens and 4 heads.
    """
    noise = torch.Generator().manual_seed(head_size)
    drawn = torch.randn(3, 2, 256, 4, head_size, generator=noise).to(device, dtype)
    results = []
    for attend, kind in ((kernel, dtype), (_plain, torch.float32)):
        inputs = [x.to(kind).requires_grad_(True) for x in drawn.unbind()]
        with torch.enable_grad():
            out = attend(*inputs, head_size**-0.5)
            gradients = torch.autograd.grad(out.float().square().sum(), inputs)
        results.append([x.float() for x in (out, *gradients)])
    pairs = zip(*results, strict=True)
    differences = [(a - b).detach().abs().max() / b.detach().abs().max().clamp_min(1.0) for a, b in pairs]
    return float(torch.stack(differences).max())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _xformers(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """xformers reads (B, N, heads, d) as it is."""
    from xformers.ops import memory_efficient_attention

    return memory_efficient_attention(query, key, value, scale=scale)


def _sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """PyTorch wants (B, heads, N, d); the transposes are views. Always 4-D: others fall back to slow kernels."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)


def _plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """The definition, slice by slice of the queries."""
    batch, _, heads, _ = query.shape
    slices = query.split(max(1, PLAIN_SCORES // (batch * heads * key.shape[1])), dim=1)
    key, value = key.permute(0, 2, 3, 1), value.transpose(1, 2)
    parts = [torch.softmax(q.transpose(1, 2) @ key * scale, dim=-1) @ value for q in slices]
    return torch.cat(parts, dim=2).transpose(1, 2)


KERNELS: dict[str, Kernel] = {"xformers": _xformers, "sdpa": _sdpa, "plain": _plain}
