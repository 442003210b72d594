"""Straight-line parts of a program, bound to shapes and addresses, and replayed as graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from engineworks.core.expression import evaluate, names_of
from engineworks.engine.schema import Manifest, Record, Ref
from engineworks.runtime.cuda.interface import BoundLaunch, Driver, Graph, TensorMapWord, Word
from engineworks.runtime.cuda.module import CudaModule
from engineworks.runtime.cuda.places import Places

_KEPT = 16
"""Sets of sizes whose graphs a stretch keeps."""


@dataclass(slots=True)
class Bound:
    """A stretch for one set of sizes.

    Attributes:
        records: the number of each launch; those with an empty grid are left out.
        launches: in order.
        ports: for each launch the inputs and outputs it touches: numbers in `Places.ports`.
        addresses: of inputs and outputs that the launches hold.
        visits: how often it ran.
    """

    records: list[int]
    launches: list[BoundLaunch]
    ports: list[frozenset[int]]
    addresses: list[int]
    graph: Graph | None = None
    visits: int = 0


@dataclass(slots=True)
class Stretch:
    """Records `first` … `end` - 1, all calls; record `end` is something else, or where others jump to.

    Attributes:
        names: symbols that its sizes depend on.
        is_known: none of them depends on data.
    """

    first: int
    end: int
    names: tuple[str, ...]
    is_known: bool
    bound: OrderedDict[tuple[int, ...], Bound] = field(default_factory=OrderedDict)


def stretches_of(manifest: Manifest) -> dict[int, Stretch]:
    """The stretches of a program by their first record."""
    program = manifest.program
    data = {s.name for s in manifest.symbols if s.is_data_dependent}
    targets = {r.target for r in program if r.op in ("jump", "jump_if_zero")}
    found: dict[int, Stretch] = {}
    first = 0
    while first < len(program):
        end = first
        while end < len(program) and program[end].op == "call" and (end == first or end not in targets):
            end += 1
        if end > first:
            names = tuple(dict.fromkeys(n for r in program[first:end] for n in _names(r, manifest)))
            found[first] = Stretch(first, end, names, data.isdisjoint(names))
        first = max(end, first + 1)
    return found


def _names(record: Record, manifest: Manifest) -> Iterator[str]:
    for dim in record.grid:
        yield from names_of(dim)
    for word in record.words:
        if isinstance(word, Ref):
            yield from names_of(word.offset)
            if word.map >= 0:
                for dim in (*manifest.maps[word.map].sizes, *manifest.maps[word.map].strides):
                    yield from names_of(dim)
        else:
            yield from names_of(word)


class Stretches:
    """Runs the stretches of one context."""

    def __init__(self, manifest: Manifest, driver: Driver, module: CudaModule, places: Places) -> None:
        self._manifest = manifest
        self._driver = driver
        self._module = module
        self._places = places
        self._ports = [_port(manifest, r) for r in manifest.program]
        self.by_first = stretches_of(manifest)

    def run(self, stretch: Stretch, values: Mapping[str, int], stream: int) -> None:
        """Enqueue the launches of a stretch for these sizes and the addresses bound last."""
        bound = self.bound(stretch, values)
        bound.visits += 1
        if bound.graph is not None:
            bound.graph.launch(stream)
            return
        # Sizes that depend on data may never come again: a graph pays from the second time on.
        if len(bound.launches) > 1 and (stretch.is_known or bound.visits > 1):
            bound.graph = self._driver.capture(bound.launches)
            bound.graph.launch(stream)
            return
        for launch in bound.launches:
            launch.launch(stream)

    def bound(self, stretch: Stretch, values: Mapping[str, int]) -> Bound:
        """The launches of a stretch, with current addresses."""
        key = tuple([values[n] for n in stretch.names])
        found = stretch.bound.get(key)
        if found is None:
            found = stretch.bound[key] = self._bind(stretch, values)
            if len(stretch.bound) > _KEPT:
                stretch.bound.popitem(last=False)
        elif found.addresses != self._places.ports:
            self._rebind(found, values)
        if len(stretch.bound) > 1:
            stretch.bound.move_to_end(key)
        return found

    def _bind(self, stretch: Stretch, values: Mapping[str, int]) -> Bound:
        bound = Bound([], [], [], list(self._places.ports))
        for number in range(stretch.first, stretch.end):
            launch = self.launch_of(number, values, overlaps=bool(bound.launches))
            if launch is not None:
                bound.records.append(number)
                bound.launches.append(launch)
                bound.ports.append(self._ports[number])
        return bound

    def launch_of(self, number: int, values: Mapping[str, int], *, overlaps: bool) -> BoundLaunch | None:
        """The launch of a record; None where there is nothing to do.

        Args:
            overlaps: a kernel comes right before it.
        """
        record = self._manifest.program[number]
        sizes = [evaluate(d, values) for d in record.grid]
        if 0 in sizes:
            return None
        x, y, z = (*sizes, 1, 1, 1)[:3]
        words = self._words(number, values)
        function = self._module.function(record.kernel)
        return self._driver.bind(function, (x, y, z), words, overlaps=overlaps and record.overlaps)

    def _rebind(self, bound: Bound, values: Mapping[str, int]) -> None:
        """Inputs or outputs lie elsewhere than the last time."""
        changed = {
            k
            for k, (old, new) in enumerate(zip(bound.addresses, self._places.ports, strict=True))
            if old != new
        }
        for k, ports in enumerate(bound.ports):
            if changed.isdisjoint(ports):
                continue
            bound.launches[k].rebind(self._words(bound.records[k], values))
            if bound.graph is not None and not bound.graph.update(k):
                bound.graph = None
        bound.addresses = list(self._places.ports)

    def _words(self, number: int, values: Mapping[str, int]) -> list[Word]:
        return [
            w if isinstance(w, int) else self._word(w, values) if isinstance(w, Ref) else evaluate(w, values)
            for w in self._manifest.program[number].words
        ]

    def _word(self, ref: Ref, values: Mapping[str, int]) -> Word:
        offset = ref.offset
        address = self._places.address(ref.buffer) + (
            offset if isinstance(offset, int) else evaluate(offset, values)
        )
        if ref.map < 0:
            return address
        tensor = self._manifest.maps[ref.map]
        sizes, strides = (tuple(evaluate(d, values) for d in row) for row in (tensor.sizes, tensor.strides))
        return TensorMapWord(address, tensor.dtype, sizes, strides, tensor.box)


def _port(manifest: Manifest, record: Record) -> frozenset[int]:
    """The inputs and outputs that a record's words point to, as numbers in `Places.ports`."""
    found: set[int] = set()
    for word in record.words:
        if isinstance(word, Ref):
            buffer = manifest.buffers[word.buffer]
            if buffer.place == "input":
                found.add(buffer.offset)
            elif buffer.place == "output":
                found.add(len(manifest.inputs) + buffer.offset)
    return frozenset(found)
