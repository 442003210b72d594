"""The program of a device whose code walks the records itself: an array, the plan, with addresses and sizes.

docs/reference/kernel-abi.md gives the plan's layout, codegen/llvm/pool.py the job's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from engineworks.core.expression import evaluate
from engineworks.engine.schema import RECORD_WORDS, Dim, Manifest, Profile, Record, Ref, words_base
from engineworks.errors import DeviceError, InvalidInput
from engineworks.runtime import dlpack
from engineworks.runtime.device import Memory
from engineworks.runtime.program import RecordTime
from engineworks.runtime.shapes import Dims, Solution

_OPS = {"call": 0, "jump": 1, "jump_if_zero": 2, "end": 3}
_FN, _ARGS, _TASKS, _CHUNKS, _FLAGS, _TARGET = 1, 2, 3, 4, 5, 7
_BARRIER, _SINGLE = 1, 2
JOB_WORDS = 8
_ALIGNED_FROM = 1 << 16
"""Bytes of an output from which aligning it (2 µs) pays."""

Launch = Callable[[int], object]
"""Runs the job (codegen/llvm/pool.py) at an address to its end."""


class PlanModule(Protocol):
    """An engine's code with the record runner in it."""

    addresses: Mapping[str, int]

    def launcher(self, threads: int, *, profiled: bool = False) -> Launch:
        """The function that runs jobs with this many threads; it may be called from several threads at
        once.
        """
        ...


class PlanDevice(Protocol):
    """Whose memory a plan needs."""

    def allocate(self, size_bytes: int) -> Memory:
        """Memory with undefined contents."""
        ...

    def read(self, address: int, size_bytes: int) -> bytes:
        """Bytes of its memory."""
        ...


class PlanProgram:
    """See `Program`."""

    def __init__(
        self,
        manifest: Manifest,
        profile: Profile | None,
        device: PlanDevice,
        module: PlanModule,
        weights: Memory,
        threads: int,
    ) -> None:
        self._manifest = manifest
        self._device = device
        self._module = module
        self._threads = threads
        self._records = manifest.program
        self._base = words_base(manifest.program)
        self._offsets = (
            profile.offsets if profile and profile.offsets else tuple(b.offset for b in manifest.buffers)
        )
        arena = profile.arena_bytes if profile and profile.offsets else manifest.arena_bytes
        self._arena = device.allocate(arena)
        self._scratch = device.allocate(manifest.scratch_bytes * threads)
        self._weights = weights
        self.symbols = _int64(max(1, len(manifest.symbols)))
        self._plan = _int64(max(1, self._base[-1]))
        # pyrefly: ignore[bad-argument-type]
        self._words = memoryview(self._plan)
        self._plan_address = self._plan.ctypes.data
        self._fixed = {
            "arena": self._arena.address, "weights": weights.address,
            "symbols": self.symbols.ctypes.data, "plan": self._plan_address,
        }  # fmt: skip
        # Addresses of inputs and outputs change from call to call: (plan index, offset) of each word, by
        # number.
        self._inputs: list[list[tuple[int, Dim]]] = [[] for _ in manifest.inputs]
        self._outputs: list[list[tuple[int, Dim]]] = [[] for _ in manifest.outputs]
        self._output_addresses = [0] * len(manifest.outputs)
        self._variable: list[tuple[int, int, str]] = []
        self._input_words: list[list[tuple[int, int]]] = []
        self._output_words: list[list[tuple[int, int]]] = []
        self._fill()
        self._job = _int64(JOB_WORDS)
        self._job[:4] = (self._plan_address, 0, self._scratch.address, manifest.scratch_bytes)
        self._job_address = self._job.ctypes.data
        self._launch = module.launcher(threads)

    # -- filling the plan
    def _fill(self) -> None:
        kernels = [self._module.addresses[k.symbol] for k in self._manifest.kernels]
        for number, record in enumerate(self._records):
            at = RECORD_WORDS * number
            words = self._base[number]
            self._words[at] = _OPS[record.op]
            if record.op == "call":
                self._words[at + _FN] = kernels[record.kernel]
                self._put(at + _TASKS, record.tasks)
                self._words[at + _CHUNKS] = record.chunks
            self._words[at + _ARGS] = self._plan_address + 8 * words
            self._words[at + _FLAGS] = _BARRIER * record.barrier | _SINGLE * record.single
            self._words[at + _TARGET] = record.target
            self._fill_words(record, at, words)

    def _fill_words(self, record: Record, at: int, first: int) -> None:
        for position, word in enumerate(record.words):
            index = first + position
            # A condition is tested where it lies, so its address is the record's `args` itself.
            if record.op == "jump_if_zero":
                index = at + _ARGS
            if isinstance(word, Ref):
                self._put_address(index, word)
            else:
                self._put(index, word)

    def _put(self, index: int, word: int | str) -> None:
        if isinstance(word, int):
            self._words[index] = word
        elif not self._manifest.resolves_itself:
            self._variable.append((index, 0, word))

    def _put_address(self, index: int, ref: Ref) -> None:
        buffer = self._manifest.buffers[ref.buffer]
        if buffer.place == "input":
            self._inputs[buffer.offset].append((index, ref.offset))
            return
        if buffer.place == "output":
            self._outputs[buffer.offset].append((index, ref.offset))
            return
        base = self._fixed[buffer.place] + self._offset_of(ref.buffer)
        if isinstance(ref.offset, int):
            self._words[index] = base + ref.offset
        else:
            self._variable.append((index, base, ref.offset))

    def _offset_of(self, buffer: int) -> int:
        place = self._manifest.buffers[buffer].place
        if place == "arena":
            return self._offsets[buffer]
        return self._manifest.buffers[buffer].offset if place == "weights" else 0

    # -- binding
    def bind_shapes(self, solution: Solution) -> None:
        """Write what depends on symbols. Costs nothing in a program without them."""
        values = solution.values
        self.symbols[: len(values)] = list(values.values())
        for index, base, text in self._variable:
            self._words[index] = base + evaluate(text, values)
        self._input_words = [[(i, evaluate(o, values)) for i, o in words] for words in self._inputs]
        self._output_words = [[(i, evaluate(o, values)) for i, o in words] for words in self._outputs]

    def bind_input(self, number: int, array: np.ndarray) -> None:
        address = array.ctypes.data
        for index, offset in self._input_words[number]:
            self._words[index] = address + offset

    def bind_output(self, number: int, array: np.ndarray) -> None:
        address = array.ctypes.data
        self._output_addresses[number] = address
        for index, offset in self._output_words[number]:
            self._words[index] = address + offset

    def seen(self, value: object) -> None:
        return None

    def use_stream(self, stream: object) -> None:
        if stream is not None:
            raise InvalidInput("this engine runs on the CPU, which has no streams; use Context.run")

    def give(self, array: np.ndarray, package: Any) -> Any:
        return array if package is None else dlpack.give(array, package)

    def new_output(self, dims: Dims, dtype: np.dtype, package: object) -> np.ndarray:
        try:
            return aligned_empty(dims, dtype)
        except (MemoryError, ValueError):
            raise DeviceError(f"the host refuses {math.prod(dims) * dtype.itemsize:,} bytes") from None

    # -- running
    def run(self) -> None:
        self._launch(self._job_address)

    def profile(self, repeats: int) -> list[RecordTime]:
        cycles = np.zeros((max(1, len(self._records)), 2), np.int64)
        launch = self._module.launcher(self._threads, profiled=True)
        self._job[4] = cycles.ctypes.data
        started = time.perf_counter()
        for _ in range(repeats):
            launch(self._job_address)
        duration = time.perf_counter() - started
        self._job[4] = 0
        # Cycle counts become seconds by their share of the whole: the counter's frequency is not published.
        seconds = duration / max(1, int(cycles[:, 0].sum()))
        return [self._time_of(i, int(n), float(c) * seconds) for i, (c, n) in enumerate(cycles) if n]

    def _time_of(self, index: int, visits: int, duration_s: float) -> RecordTime:
        record = self._records[index]
        kernel = self._manifest.kernels[record.kernel]
        return RecordTime(index, record.name, record.group, kernel.symbol, kernel.tactic, visits, duration_s)

    def step(self, index: int) -> int | None:
        record = self._records[index]
        if record.op == "end":
            return None
        if record.op == "jump":
            return record.target
        at = RECORD_WORDS * index
        if record.op == "jump_if_zero":
            is_zero = self._device.read(self._words[at + _ARGS], 1) == b"\0"
            return record.target if is_zero else index + 1
        following = at + RECORD_WORDS
        kept = self._words[following]
        self._words[following] = _OPS["end"]
        self._job[1] = index
        try:
            self._launch(self._job_address)
        finally:
            self._job[1] = 0
            self._words[following] = kept
        return index + 1

    def read(self, buffer: int, size_bytes: int) -> bytes:
        record = self._manifest.buffers[buffer]
        if record.place == "output":
            return self._device.read(self._output_addresses[record.offset], size_bytes)
        return self._device.read(self._fixed[record.place] + self._offset_of(buffer), size_bytes)


def aligned_empty(dims: Dims, dtype: np.dtype) -> np.ndarray:
    """A new array. numpy starts large ones 16 bytes off a cache line, which splits every vector store."""
    size = math.prod(dims) * dtype.itemsize
    if size < _ALIGNED_FROM:
        return np.empty(dims, dtype)
    raw = np.empty(size + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size].view(dtype).reshape(dims)


def _int64(count: int) -> np.ndarray:
    """A zeroed, 64-aligned int64 array."""
    raw = np.zeros(count + 8, np.int64)
    skip = -raw.ctypes.data % 64 // 8
    return raw[skip : skip + count]
