"""What programs ask of a GPU: `driver.py` answers with the CUDA driver, `testing/emulated_gpu.py` with the CPU.

Streams are handles (integers; 0 is the legacy default stream). Addresses are the device's. Every method may be called
from any thread, and leaves that thread's current context as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from engineworks.engine.schema import Kernel
from engineworks.runtime.device import Memory


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU.

    Attributes:
        index: its number among the visible ones.
        name: as the driver says it.
        capability: (9, 0).
        processors: streaming multiprocessors.
        memory_bytes: all of it.
        cuda: newest CUDA version that the driver supports, (13, 0).
    """

    index: int
    name: str
    capability: tuple[int, int]
    processors: int
    memory_bytes: int
    cuda: tuple[int, int]

    @property
    def arch(self) -> str:
        """'sm_90'."""
        return f"sm_{self.capability[0]}{self.capability[1]}"


@dataclass(frozen=True, slots=True)
class TensorMapWord:
    """A tensor for the GPU's tensor copies: sizes, strides and box in elements, outermost first."""

    address: int
    dtype: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]


Word = int | TensorMapWord


class BoundLaunch(Protocol):
    """A kernel with its grid and words, to be launched any number of times."""

    def rebind(self, words: Sequence[Word]) -> None:
        """Other words of the same kinds for later launches and captures."""
        ...

    def launch(self, stream: int) -> None:
        """Enqueue it."""
        ...


class Graph(Protocol):
    """A row of launches that is enqueued at once."""

    def launch(self, stream: int) -> None:
        """Enqueue all of it."""
        ...

    def update(self, number: int) -> bool:
        """Take the words that launch `number` has now, from the next `launch` on. False: that takes a new graph."""
        ...


class Driver(Protocol):
    """One GPU."""

    facts: GpuFacts

    def current(self) -> AbstractContextManager[None]:
        """A block in which calls need not enter the GPU's context one by one."""
        ...

    def function(self, code: memoryview, kernel: Kernel) -> Any:
        """What `bind` takes: a kernel of a code section, or a library's function.

        Raises:
            DeviceError: the driver or library refuses it.
        """
        ...

    def bind(
        self, function: Any, grid: tuple[int, int, int], words: Sequence[Word], *, overlaps: bool
    ) -> BoundLaunch:
        """A launch of `grid` blocks (clusters, where the kernel has them). `overlaps`: it may begin before the one in
        front of it has ended.
        """
        ...

    def capture(self, launches: Sequence[BoundLaunch]) -> Graph:
        """The launches in order, as one graph."""
        ...

    def allocate(self, size_bytes: int, what: str) -> Memory:
        """Device memory at a multiple of 256 bytes, of undefined contents, until the owner is gone.

        Raises:
            DeviceError: there is not enough; the message has `what`, the bytes needed and the bytes free.
        """
        ...

    def pinned(self, size_bytes: int) -> np.ndarray:
        """[size_bytes] u8 host memory that copies asynchronously. Raises DeviceError."""
        ...

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        """Copy a contiguous host array to the device; it may be changed at once unless it is pinned."""
        ...

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        """Copy from the device into a contiguous host array; done when the stream gets there."""
        ...

    def copy(self, to: int, source: int, size_bytes: int, stream: int) -> None:
        """Copy within the device."""
        ...

    def new_stream(self) -> Any:
        """A stream of one's own: an object whose int() is the handle, destroyed with it."""
        ...

    def new_event(self, *, timed: bool = False) -> Any:
        """A mark in a stream, destroyed with the object."""
        ...

    def record(self, event: Any, stream: int) -> None:
        """Set the mark after all work that is in the stream now."""
        ...

    def wait(self, stream: int, event: Any) -> None:
        """What is enqueued in the stream from now on waits for the mark."""
        ...

    def elapsed_s(self, first: Any, last: Any) -> float:
        """Seconds between two timed marks, after waiting for the last one."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait for everything in the stream. Raises DeviceError: a kernel failed."""
        ...

    def synchronize_event(self, event: Any) -> None:
        """Wait for a mark."""
        ...
