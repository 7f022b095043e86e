"""Several training processes with one model: every one takes its own batches, the gradients are averaged.

On a CPU two processes of one thread each are much quicker than one process of two threads: the layers are small.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import multiprocessing, nn

OTHER_PROCESS = 1_000_003
"""Between the random seeds of processes that train together."""


def spread(work: Callable[..., None], workers: int, *arguments: object) -> None:
    """Run `work(*arguments)` in `workers` processes that know each other, or right here for one."""
    if workers == 1:
        work(*arguments)
        return
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29517")
    multiprocessing.spawn(_join, (workers, work, arguments), nprocs=workers)


def _join(rank: int, workers: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=workers)
    try:
        work(*arguments)
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process; 0 keeps the clock, reports and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def agreed(value: float) -> float:
    """Process 0's value, in every process."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(shared, 0)
    return float(shared)


def mean_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@contextmanager
def first_process_first() -> Iterator[None]:
    """Process 0 runs the block before the others, so that they find what it left on disk."""
    if dist.is_initialized() and rank() > 0:
        dist.barrier()
    yield
    if dist.is_initialized() and rank() == 0:
        dist.barrier()
