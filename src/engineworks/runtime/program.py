"""What a context asks of the program that its device made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from engineworks.runtime.shapes import Dims, Solution


@dataclass(frozen=True, slots=True)
class RecordTime:
    """Time of one record, summed over `visits`, in seconds: of thread 0, its wait for the others included (CPU), or of
    the launch, as the device's events say (GPU).
    """

    index: int
    name: str
    group: str
    kernel: str
    tactic: str
    visits: int
    duration_s: float


class Program(Protocol):
    """The records of an engine with addresses and sizes filled in. Owned by one context, used by one thread at a time.

    Attributes:
        symbols: the int64 slot of each symbol, the sizes that the last run found included.
    """

    symbols: np.ndarray

    def bind_shapes(self, solution: Solution) -> None:
        """Take these sizes; data-dependent ones go back to their upper bounds."""
        ...

    def bind_input(self, number: int, array: Any) -> None:
        """Read input `number` from an array that the context's binder gave."""
        ...

    def bind_output(self, number: int, array: Any) -> None:
        """Write output `number` to an array that the context's binder or `new_output` gave."""
        ...

    def new_output(self, dims: Dims, dtype: np.dtype) -> Any:
        """Memory for an output. Raises DeviceError: there is none."""
        ...

    def run(self) -> None:
        """One inference, with the arrays and shapes bound last."""
        ...

    def profile(self, repeats: int) -> list[RecordTime]:
        """Times of each record that ran, from `repeats` inferences."""
        ...

    def step(self, index: int) -> int | None:
        """Run record `index` alone; the number of the one after it, or None at the end."""
        ...

    def read(self, buffer: int, size_bytes: int) -> bytes:
        """Bytes of an arena or weights buffer as they are now."""
        ...
