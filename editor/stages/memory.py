"""How much is worked on at once, and the one retry with less when memory runs out."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from editor.events import OUT_OF_MEMORY, EditError, is_out_of_memory

T = TypeVar("T")


@dataclass(frozen=True)
class Chunks:
    """How many frames the VAE takes at a time, frames the inversion, and target prompts the edit (None: all)."""

    vae: int = 4
    frames: int | None = None
    targets: int | None = None
    previews: bool = True


SMALLEST = Chunks(vae=1, frames=1, targets=1, previews=False)


class Memory:
    """The chunks in use. They shrink once, when memory ran out, and stay small for the rest of the edit."""

    def __init__(self) -> None:
        self.chunks = Chunks()

    def within(self, work: Callable[[Chunks], T]) -> T:
        """Call `work` with the chunks; when memory runs out, once more with the smallest.

        Raises `EditError` when that is too much as well. Other errors pass.
        """
        try:
            return work(self.chunks)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if self.chunks == SMALLEST:
                raise EditError(OUT_OF_MEMORY) from error
        # out of the handler: the failed attempt's tensors hang on its traceback
        self.chunks = SMALLEST
        release()
        try:
            return work(self.chunks)
        except Exception as error:
            if is_out_of_memory(error):
                raise EditError(OUT_OF_MEMORY) from error
            raise

    @property
    def notes(self) -> tuple[str, ...]:
        """Says that the chunks shrank, if they did."""
        return ("memory ran out once: worked on in the smallest pieces",) if self.chunks == SMALLEST else ()


def release() -> None:
    """Give back what the failed attempt still holds."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
