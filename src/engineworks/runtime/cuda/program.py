"""The program of a context on a GPU: stretches of launches, and the decisions between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.core.expression import evaluate
from engineworks.engine.schema import Manifest, Profile, Ref
from engineworks.errors import RunError
from engineworks.runtime.cuda.arrays import DeviceArray, handle_of, seen
from engineworks.runtime.cuda.exchange import Ports, give, new_output
from engineworks.runtime.cuda.interface import Driver, Graph
from engineworks.runtime.cuda.module import CudaModule
from engineworks.runtime.cuda.places import Places
from engineworks.runtime.cuda.profiling import profile
from engineworks.runtime.cuda.stretches import Stretches
from engineworks.runtime.device import Memory
from engineworks.runtime.program import RecordTime
from engineworks.runtime.shapes import Dims, Solution


@dataclass(frozen=True, slots=True)
class _Again:
    """A run that is one graph and nothing else, when it comes again with the same arrays and shapes.

    Attributes:
        asked: the stream that was asked for. stream: the one it ran in.
    """

    graph: Graph
    asked: int | None
    stream: int


class CudaProgram:
    """See `Program`.

    Work goes to the stream given with `use_stream`, else to the one that the inputs come from, else to a stream of the
    context's own.
    """

    def __init__(
        self, manifest: Manifest, profile: Profile | None, driver: Driver, module: CudaModule, weights: Memory
    ) -> None:
        self.manifest = manifest
        self.driver = driver
        self.places = Places(manifest, profile, driver, weights)
        slots = max(1, len(manifest.symbols))
        self.symbols = np.zeros(slots, np.int64)
        self._data_slots = [(i, s.name) for i, s in enumerate(manifest.symbols) if s.is_data_dependent]
        # What the runtime reads in the midst of a run: sizes, and a condition after them.
        decides = bool(self._data_slots) or any(r.op == "jump_if_zero" for r in manifest.program)
        read = driver.pinned(8 * slots + 1) if decides else np.zeros(8 * slots + 1, np.uint8)
        self._found, self._flag = read[: 8 * slots].view(np.int64), read[8 * slots :]
        self.own_stream = driver.new_stream()
        self._end = driver.new_event()
        self._last_stream: int | None = None
        self._asked_stream: int | None = None
        self._again: _Again | None = None
        self.stretches = Stretches(manifest, driver, module, self.places)
        self._ports = Ports(manifest, driver, self.places.ports)
        self._bounds: Mapping[str, int] = {}
        self.values: dict[str, int] = {}

    # -- binding
    def bind_shapes(self, solution: Solution) -> None:
        self._again = None
        self._bounds = solution.values
        self.values = dict(solution.values)

    def bind_input(self, number: int, array: np.ndarray | DeviceArray) -> None:
        self._again = None
        self._ports.bind_input(number, array)

    def bind_output(self, number: int, array: np.ndarray | DeviceArray) -> None:
        self._again = None
        self._ports.bind_output(number, array)

    def seen(self, value: Any) -> DeviceArray | None:
        asked = self._asked_stream
        return seen(value, self.driver, int(self.own_stream) if asked is None else asked)

    def use_stream(self, stream: Any) -> None:
        self._asked_stream = None if stream is None else handle_of(stream)

    def new_output(self, dims: Dims, dtype: np.dtype, package: Any) -> Any:
        if not self._ports.are_on_device:
            return np.empty(dims, dtype)
        return new_output(self.driver, dims, dtype, package, self._stream())

    def give(self, array: Any, package: Any) -> Any:
        return give(array, package)

    # -- running
    def run(self) -> None:
        """Enqueue one inference; waits for it only where host arrays or sizes found by kernels need it."""
        again = self._again
        if again is not None and again.asked == self._asked_stream:
            again.graph.launch(again.stream)
            self.driver.record(self._end, again.stream)
            return
        with self.driver.current():
            stream = self.begin()
            position: int | None = 0
            while position is not None:
                stretch = self.stretches.by_first.get(position)
                if stretch is None:
                    position = self.decide(position, stream)
                else:
                    self.stretches.run(stretch, self.values, stream)
                    position = stretch.end
            self.finish(stream)
        self._again = self._simple(stream)

    def _simple(self, stream: int) -> _Again | None:
        """What the run before was, when it was a single graph in a single stream, without copies."""
        first = self.stretches.by_first.get(0)
        if first is None or self.manifest.program[first.end].op != "end" or self._data_slots:
            return None
        if self._ports.copies or not self._ports.streams <= {stream}:
            return None
        graph = self.stretches.bound(first, self.values).graph
        return None if graph is None else _Again(graph, self._asked_stream, stream)

    def begin(self) -> int:
        """Order the stream of this run after everything it depends on, and copy host inputs; the stream."""
        self._ports.settle()
        stream = self._stream()
        if self._last_stream not in (None, stream):
            self.driver.wait(stream, self._end)
        if self._asked_stream is None:
            self._follow_inputs(stream)
        self._ports.copy_in(stream)
        if self._data_slots:
            self.symbols[: len(self._bounds)] = list(self._bounds.values())
            self.driver.upload(self.places.symbols, self.symbols, stream)
        return stream

    def finish(self, stream: int) -> None:
        """Copy host outputs, read the sizes that kernels found, and let others know when the run ends."""
        self._ports.copy_out(stream)
        if self._data_slots:
            self.driver.download(self._found, self.places.symbols, stream)
        self.driver.record(self._end, stream)
        self._last_stream = stream
        if self._asked_stream is None:
            for other in self._ports.streams:
                if other != stream:
                    self.driver.wait(other, self._end)
        if self._data_slots or self._ports.has_host_outputs:
            self.driver.synchronize(stream)
            self._ports.give_host_outputs()
        if self._data_slots:
            self.symbols[:] = self._found

    def _stream(self) -> int:
        if self._asked_stream is not None:
            return self._asked_stream
        streams = self._ports.streams
        return next(iter(streams)) if len(streams) == 1 else int(self.own_stream)

    def _follow_inputs(self, stream: int) -> None:
        for other in self._ports.streams:
            if other != stream:
                event = self.driver.new_event()
                self.driver.record(event, other)
                self.driver.wait(stream, event)

    def decide(self, position: int, stream: int) -> int | None:
        """Carry out a record that is no call; the number of the one after it, or None at the end."""
        record = self.manifest.program[position]
        match record.op:
            case "end":
                return None
            case "jump":
                return record.target
            case "jump_if_zero":
                return record.target if self._is_zero(record.words[0], stream) else position + 1
            case "resolve":
                self._resolve(stream)
                return position + 1
            case "call":
                raise AssertionError("a call is part of a stretch")

    def _is_zero(self, word: Any, stream: int) -> bool:
        assert isinstance(word, Ref), "a condition is an address (engine/validate.py)"
        address = self.places.address(word.buffer) + evaluate(word.offset, self.values)
        self.driver.download(self._flag, address, stream)
        self.driver.synchronize(stream)
        return not self._flag[0]

    def _resolve(self, stream: int) -> None:
        """Take over the sizes that kernels have found so far."""
        self.driver.download(self._found, self.places.symbols, stream)
        self.driver.synchronize(stream)
        self.symbols[:] = self._found
        for slot, name in self._data_slots:
            value = int(self.symbols[slot])
            # Beyond its bound a size would make kernels write outside of their buffers.
            if not 0 <= value <= self._bounds[name]:
                raise RunError(
                    f"a kernel set '{name}' to {value}, outside 0 … {self._bounds[name]}: please report this engine"
                )
            self.values[name] = value

    # -- looking closer
    def profile(self, repeats: int) -> list[RecordTime]:
        with self.driver.current():
            return profile(self, repeats)

    def step(self, index: int) -> int | None:
        with self.driver.current():
            stream = self.begin() if index == 0 else int(self.own_stream)
            if self.manifest.program[index].op == "call":
                launch = self.stretches.launch_of(index, self.values, overlaps=False)
                if launch is not None:
                    launch.launch(stream)
                following: int | None = index + 1
            else:
                following = self.decide(index, stream)
            self.driver.synchronize(stream)
            if self._data_slots:
                self.driver.download(self._found, self.places.symbols, stream)
                self.driver.synchronize(stream)
                self.symbols[:] = self._found
            return following

    def read(self, buffer: int, size_bytes: int) -> bytes:
        content = np.empty(size_bytes, np.uint8)
        if size_bytes:
            stream = int(self.own_stream)
            self.driver.download(content, self.places.address(buffer), stream)
            self.driver.synchronize(stream)
        return content.tobytes()
