"""Which attention kernel is used, why, and the one call that runs it.

Tensors have the layout (B, N, heads, d) that linear projections give without a copy, so that frames fold into one
sequence as a view. Only this file imports xformers, and only when a CUDA device will use it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from editor.events import EditError

log = logging.getLogger(__name__)

PLAIN_SCORES = 2**26
"""Most scores that the plain kernel holds at once (256 MB in float32); it walks over the queries in slices."""


@dataclass(frozen=True)
class KernelChoice:
    """A kernel's name (xformers, sdpa or plain) and the reason for it in words, for log and manifest."""

    name: str
    reason: str

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, *, upcast: bool = False
    ) -> torch.Tensor:
        """softmax(query key^T scale) value for query (B, N, heads, d), key and value (B, M, heads, d).

        With `upcast` the product is taken in float32 and given back in the query's dtype, as SD 2.1 needs in fp16.
        """
        if not upcast or query.dtype == torch.float32:
            return _KERNELS[self.name](query, key, value, scale)
        return _KERNELS[self.name](query.float(), key.float(), value.float(), scale).to(query.dtype)


SDPA = KernelChoice("sdpa", "PyTorch's own, used when nothing else was chosen")


def choose_kernel(device: torch.device, dtype: torch.dtype, asked: str = "auto") -> KernelChoice:
    """Choose for weights of `dtype` on `device`; `asked` is `Settings.attention`.

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
        choice = _choose_on_cuda(device, dtype, asked)
    log.debug("attention kernel %s: %s", choice.name, choice.reason)
    return choice


def _choose_on_cuda(device: torch.device, dtype: torch.dtype, asked: str) -> KernelChoice:
    """Try xformers on the device with a small call; fall back to SDPA unless it was asked for by name."""
    trouble = _trouble_with_xformers(device, dtype)
    if trouble is None:
        why = (
            "asked for with EDITOR_ATTENTION=xformers" if asked == "xformers" else "it is installed and serves this GPU"
        )
        return KernelChoice("xformers", why)
    if asked == "xformers":
        raise EditError(f"EDITOR_ATTENTION is 'xformers', which does not work here: {trouble}. Use auto or sdpa.")
    return KernelChoice("sdpa", f"PyTorch's own; xformers does not work here: {trouble}")


def _trouble_with_xformers(device: torch.device, dtype: torch.dtype) -> str | None:
    """One sentence on why xformers cannot serve `device`, or None when a small call agrees with the plain kernel."""
    query, key, value = torch.randn(3, 2, 64, 4, 40, device=device, dtype=dtype).unbind()
    try:
        found = _xformers(query, key, value, 40**-0.5)
    except (ImportError, OSError, RuntimeError, ValueError) as error:  # "not implemented" is a RuntimeError
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    wanted = _plain(query.float(), key.float(), value.float(), 40**-0.5)
    # half precision: 2^-10 relative, on outputs of order one; a wrong layout or scale is off by tenths
    return None if torch.allclose(found.float(), wanted, atol=2e-2) else "its result differs from the plain one"


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


_KERNELS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "xformers": _xformers,
    "sdpa": _sdpa,
    "plain": _plain,
}
