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

    def seen(self, value: Any) -> Any:
        """An object as an array in the device's own memory, with `shape` and `dtype`; None: it is none.

        Raises:
            InvalidInput: it lies on another device, or is not dense.
        """
        ...

    def use_stream(self, stream: Any) -> None:
        """Where later runs are enqueued; None leaves it to the program.

        Raises:
            InvalidInput: it is no stream, or the device has none.
        """
        ...

    def new_output(self, dims: Dims, dtype: np.dtype, package: Any) -> Any:
        """Memory for an output, where the inputs bound last are; `package` has the arrays that the user gave.

        Raises:
            DeviceError: there is none.
        """
        ...

    def give(self, array: Any, package: Any) -> Any:
        """An output as an array of `package`, without a copy; None: as it is."""
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
        """Bytes of an arena, weights or output buffer as they are now."""
        ...
