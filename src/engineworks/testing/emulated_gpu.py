"""A GPU that is this machine's CPU: engines for cuda run here with the numbers of their kernels, by Triton's
interpreter, and the runtime's own way through the program. For tests; thousands of times slower than a GPU.

Its engines hold the kernels' texts in place of their machine code, so no other runtime loads them.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.codegen.triton.interpret import HostTensorMap, Interpreted
from engineworks.engine.schema import Kernel
from engineworks.errors import DeviceError
from engineworks.kernels.backend import Code
from engineworks.kernels.cuda.backend import CudaBackend
from engineworks.kernels.tactic import LibraryCall
from engineworks.runtime.cuda.device import CudaDevice
from engineworks.runtime.cuda.interface import BoundLaunch, GpuFacts, TensorMapWord, Word
from engineworks.runtime.device import Memory
from engineworks.runtime.engine import Engine

_INTERPRETER = threading.RLock()
"""The interpreter serves one thread at a time."""
_ALIGNMENT = 256
_POISON = 0x7F


class EmulatedBackend(CudaBackend):
    """`CudaBackend`, whose code sections hold texts."""

    def prepare(
        self, functions: Mapping[str, Any], declarations: Iterable[str], isa: Any, cache: Any
    ) -> None:
        return None

    def code(
        self,
        functions: Mapping[str, Any],
        declarations: Iterable[str],
        isa: Any,
        cache: Any,
        binding: Any = None,
    ) -> Code:
        image = bytearray()
        facts: dict[str, Mapping[str, Any]] = {}
        for symbol, function in sorted(functions.items()):
            if isinstance(function, LibraryCall):
                facts[symbol] = {"library": function.library, "call": function.parameters}
                continue
            text = msgspec.json.encode(function)
            facts[symbol] = {
                "offset": len(image), "size": len(text), "entry": function.name, "threads": 32 * function.warps,
                "cluster": function.blocks,
            }  # fmt: skip
            image += text
        return Code(bytes(image), facts)


class EmulatedDriver:
    """See `runtime.cuda.interface.Driver`. Work is done when it is enqueued.

    Args:
        arch: what it says it is.
        memory_bytes: what may be allocated at once.

    Attributes:
        free_bytes: of memory_bytes.
        log: (what, how much) of everything that a GPU would have noticed: ('launch', blocks), ('capture', launches),
            ('replay', launches), ('update', number), ('upload', bytes), ('download', bytes), ('synchronize', stream), …
    """

    def __init__(self, arch: str = "sm_90", memory_bytes: int = 1 << 40) -> None:
        gpu = gpu_of(arch)
        number = gpu.capability
        self.facts = GpuFacts(
            0, f"emulated {arch}", (number // 10, number % 10), gpu.processors, memory_bytes, (13, 0)
        )
        self.log: list[tuple[str, int]] = []
        self._streams = 0
        self.free_bytes = memory_bytes
        self._blocks: weakref.WeakSet[_Block] = weakref.WeakSet()

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    def function(self, code: memoryview, kernel: Kernel) -> Interpreted:
        if kernel.library:
            raise DeviceError(f"the emulated GPU has no {kernel.library}")
        with _INTERPRETER:
            return Interpreted(msgspec.json.decode(code, type=KernelFunction))

    def bind(
        self, function: Interpreted, grid: tuple[int, int, int], words: Sequence[Word], *, overlaps: bool
    ) -> EmulatedLaunch:
        return EmulatedLaunch(self, function, grid, list(words))

    def capture(self, launches: Sequence[BoundLaunch]) -> EmulatedGraph:
        self.log.append(("capture", len(launches)))
        return EmulatedGraph(self, list(launches))

    def allocate(self, size_bytes: int, what: str) -> Memory:
        if size_bytes > self.free_bytes:
            raise DeviceError(
                f"no memory on {self.facts.name} for {what}: {size_bytes:,} bytes are needed, {self.free_bytes:,} of "
                f"{self.facts.memory_bytes:,} are free."
            )
        self.log.append(("allocate", size_bytes))
        block = _Block(self, size_bytes, what)
        self._blocks.add(block)
        return Memory(block.address, size_bytes, block)

    def pinned(self, size_bytes: int) -> np.ndarray:
        return np.zeros(size_bytes, np.uint8)

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        self.log.append(("upload", array.nbytes))
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        self.log.append(("download", array.nbytes))
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, to: int, source: int, size_bytes: int, stream: int) -> None:
        self.log.append(("copy", size_bytes))
        ctypes.memmove(to, source, size_bytes)

    def new_stream(self) -> int:
        self._streams += 1
        return 0x5000 + self._streams

    def new_event(self, *, timed: bool = False) -> list[float]:
        return []

    def record(self, event: list[float], stream: int) -> None:
        event[:] = [0.0]

    def wait(self, stream: int, event: list[float]) -> None:
        self.log.append(("wait", stream))

    def elapsed_s(self, first: list[float], last: list[float]) -> float:
        return 1e-6

    def synchronize(self, stream: int) -> None:
        self.log.append(("synchronize", stream))
        for block in list(self._blocks):
            block.check()

    def synchronize_event(self, event: list[float]) -> None:
        return None


class _Block:
    """Memory between guards, poisoned, so that what nobody wrote shows."""

    def __init__(self, driver: EmulatedDriver, size_bytes: int, what: str) -> None:
        self._driver, self._size_bytes, self._what = driver, size_bytes, what
        self._raw = np.full(size_bytes + 2 * _ALIGNMENT, _POISON, np.uint8)
        self.address = -(-(self._raw.ctypes.data + 1) // _ALIGNMENT) * _ALIGNMENT
        driver.free_bytes -= size_bytes

    def check(self) -> None:
        """Raises AssertionError: something was written outside of the block."""
        first = self.address - self._raw.ctypes.data
        guards = self._raw[:first], self._raw[first + self._size_bytes :]
        assert all((g == _POISON).all() for g in guards), f"a kernel wrote outside of {self._what}"

    def __del__(self) -> None:
        self._driver.free_bytes += self._size_bytes


@dataclass(slots=True)
class EmulatedLaunch:
    """See `BoundLaunch`."""

    driver: EmulatedDriver
    function: Interpreted
    grid: tuple[int, int, int]
    words: list[Word]

    def rebind(self, words: Sequence[Word]) -> None:
        self.words = list(words)

    def launch(self, stream: int) -> None:
        self.driver.log.append(("launch", self.grid[0] * self.grid[1] * self.grid[2]))
        given = [
            HostTensorMap(w.address, w.sizes, w.strides) if isinstance(w, TensorMapWord) else w
            for w in self.words
        ]
        with _INTERPRETER:
            self.function.run(self.grid, given)


class EmulatedGraph:
    """See `Graph`: words are those of the capture until they are updated."""

    def __init__(self, driver: EmulatedDriver, launches: list[Any]) -> None:
        self._driver = driver
        self._launches = launches
        self._held = [EmulatedLaunch(x.driver, x.function, x.grid, x.words) for x in launches]

    def launch(self, stream: int) -> None:
        self._driver.log.append(("replay", len(self._held)))
        for launch in self._held:
            launch.launch(stream)

    def update(self, number: int) -> bool:
        self._driver.log.append(("update", number))
        self._held[number].words = list(self._launches[number].words)
        return True


def emulated_device(arch: str = "sm_90", memory_bytes: int = 1 << 40) -> CudaDevice:
    """Device 'cuda' for engines of `EmulatedBackend`."""
    return CudaDevice(driver=EmulatedDriver(arch, memory_bytes))


@functools.cache
def emulated_backend() -> EmulatedBackend:
    """The backend that builds for `emulated_device`."""
    return EmulatedBackend()


def build_emulated(model: Any, **options: Any) -> bytes:
    """The engine file of a model for `emulated_device`.

    Args:
        model, options: as `engineworks.build` takes them; the target is cuda:sm_90 and the effort 0 by default.
    """
    from engineworks.builder.build import build_engine
    from engineworks.builder.config import BuildConfig
    from engineworks.engine import container

    given: dict[str, Any] = {
        "target": "cuda:sm_90", "effort": 0, "timing_cache": False, "tactic_sources": ("triton",), **options,
    }  # fmt: skip
    config = BuildConfig(**given)
    emitted = build_engine(model, config, backend=emulated_backend())
    return container.encode(emitted.manifest, emitted.sections)


def build_and_run(model: Any, inputs: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """The outputs of a model, by the kernels and the program that it has on a GPU.

    Args:
        model, options: see `build_emulated`.
        inputs: arrays by name.
    """
    engine = Engine.open(build_emulated(model, **options), device=emulated_device())
    return engine.run(**inputs)
