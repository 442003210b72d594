"""Library calls on a GPU, as an engine makes them: the driver's function, bound to words, launched and captured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engineworks.core.dims import evaluate
from engineworks.engine.schema import Kernel
from engineworks.kernels.tactic import Input, KernelImage, LibraryCall, Output, Packed, Size, Word, Workspace
from engineworks.runtime.cuda.driver import CudaDriver
from engineworks.runtime.cuda.interface import BoundLaunch
from engineworks.runtime.device import Memory
from engineworks.testing.kernels import from_memory, to_memory
from tests.unit.kernels.cuda.library_case import Case

POISON = 0x7F


@dataclass
class OnGpu:
    """One image of one library call, with its operands on the GPU."""

    driver: CudaDriver
    case: Case
    image: KernelImage

    def __post_init__(self) -> None:
        values, arrays = dict(self.case.dims), self.case.arrays()
        self.given = {
            k: self._placed(to_memory(a, t, values))
            for k, (a, t) in enumerate(zip(arrays, self.case.inputs, strict=True))
            if a is not None and t is not None
        }
        constants = {k: a for k, a in enumerate(arrays) if a is not None}
        self.packed = [self._placed(p.pack(constants)) for p in self.image.packed]
        self.work = [
            self.driver.allocate(evaluate(size, values), "a workspace") for size in self.image.workspace
        ]
        self.raw = np.full(evaluate(self.case.out.size_bytes, values), POISON, np.uint8)
        self.out = self._placed(self.raw)

    def _placed(self, array: np.ndarray) -> Memory:
        memory = self.driver.allocate(array.nbytes, "an operand")
        self.driver.upload(memory.address, np.ascontiguousarray(array), 0)
        self.driver.synchronize(0)
        return memory

    def _word(self, word: Word) -> int:
        match word:
            case Size():
                return evaluate(word.dim, dict(self.case.dims))
            case Input():
                return self.given[word.index].address
            case Packed():
                return self.packed[word.index].address
            case Output():
                return self.out.address
            case Workspace():
                return self.work[word.index].address
        raise AssertionError(word)

    @property
    def call(self) -> LibraryCall:
        """The image's one call."""
        (call,) = self.image.functions.values()
        assert isinstance(call, LibraryCall)
        return call

    @property
    def words(self) -> list[int]:
        """What the call is given."""
        (step,) = self.image.steps
        return [self._word(w) for w in step.words]

    @cached_property
    def launch(self) -> BoundLaunch:
        """The call, ready to be launched."""
        kernel = Kernel("call", library=self.call.library, call=self.call.parameters)
        function = self.driver.function(memoryview(b""), kernel)
        return self.driver.bind(function, (1, 1, 1), self.words, overlaps=False)

    def result(self, *, captured: bool) -> np.ndarray:
        """The output of a launch, or of a graph that holds it, in memory that held something else before."""
        stream = self.driver.new_stream()
        self.driver.upload(self.out.address, np.full_like(self.raw, POISON), 0)
        self.driver.synchronize(0)
        if captured:
            self.driver.capture([self.launch]).launch(int(stream))
        else:
            self.launch.launch(int(stream))
        self.driver.download(self.raw, self.out.address, int(stream))
        self.driver.synchronize(int(stream))
        return from_memory(self.raw, self.case.out, dict(self.case.dims))

    def seconds(self, repeats: int = 20, rounds: int = 10) -> float:
        """Of one launch among many in a graph, the fastest round."""
        graph = self.driver.capture([self.launch] * repeats)
        stream = self.driver.new_stream()
        graph.launch(int(stream))
        times = []
        for _ in range(rounds):
            first, last = self.driver.new_event(timed=True), self.driver.new_event(timed=True)
            self.driver.record(first, int(stream))
            graph.launch(int(stream))
            self.driver.record(last, int(stream))
            times.append(self.driver.elapsed_s(first, last) / repeats)
        return min(times)
