"""A graph that measures another: every floating-point activation gets a histogram, computed where it is made.

So no activation leaves the engine: a run gives a few kilobytes a tensor, and memory is planned as in any engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.calibration.histogram import BINS
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.copy import copy_graph
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ops._products import PRODUCTS
from engineworks.ops.histogram import Histogram

SAME_ELEMENTS = frozenset({"reshape", "transpose", "relayout", "identity"})
"""Ops whose output holds the elements of their input, in another order: measured once."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A measured tensor, and what the measuring graph calls the input and the outputs for it.

    Attributes:
        name: of the tensor.
        number: in the order of computation.
    """

    name: str
    number: int

    @property
    def limit(self) -> str:
        """The input: where the histogram has ended so far, f32."""
        return f"calibration {self.number} limit"

    @property
    def counts(self) -> str:
        """The output of counts, i32 [BINS]."""
        return f"calibration {self.number} counts"

    @property
    def seen(self) -> str:
        """The output f32 [3]: smallest and largest element, and where the histogram ends now."""
        return f"calibration {self.number} seen"


@dataclass(frozen=True, slots=True)
class Measuring:
    """A graph to build, and how to read what it gives.

    Attributes:
        graph: takes the original inputs, and for each tensor the limit of its histogram so far.
        observed: the measured tensors, in the order they are computed.
        same_as: tensors that hold the elements of a measured one, by name.
        operands: the measured tensors that products read, which are those that become int8.
    """

    graph: Graph
    observed: tuple[Observed, ...]
    same_as: dict[str, str]
    operands: frozenset[str]


def name_values(graph: Graph) -> None:
    """Give each nameless activation a name of its own: its source node and operator. The same model, the same names.

    Operators that are imported as several have values between them which the model does not name; caches need names.
    """
    taken = {v.name for v in graph.values() if v.name}
    for node in graph.nodes:
        for value in node.outputs:
            if value.name or not value.type.dtype.is_float:
                continue
            stem = f"{node.origin[0] if node.origin else graph.name}:{node.op.name}"
            value.name = stem
            number = 2
            while value.name in taken:
                value.name, number = f"{stem}:{number}", number + 1
            taken.add(value.name)


def measuring(graph: Graph) -> Measuring:
    """The graph that measures `graph`, which stays as it is but for names (`name_values`).

    Values inside the bodies of control flow are not measured.
    """
    name_values(graph)
    copied, _ = copy_graph(graph)
    source_nodes, copied.nodes = copied.nodes, []
    copied.outputs, copied.output_names = [], []
    builder = GraphBuilder(copied)
    observer = _Observer(builder)
    for value in list(copied.inputs):
        observer.observe(value)
    for node in source_nodes:
        copied.nodes.append(node)
        with builder.origin(*node.origin):
            observer.follow(node)
    return Measuring(copied, tuple(observer.observed), observer.same_as, frozenset(observer.operands))


class _Observer:
    """Adds the measuring nodes of one value after another, each right behind what it measures."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.g = builder
        self.observed: list[Observed] = []
        self.same_as: dict[str, str] = {}
        self.operands: set[str] = set()
        self._known: set[int] = set()
        """Ids of values that follow from constants alone, such as dequantised weights: no activations."""

    def follow(self, node: Node) -> None:
        """Measure what a node gives."""
        if all(v is None or v.is_constant or id(v) in self._known for v in node.inputs):
            self._known.update(id(v) for v in node.outputs)
            return
        if node.op.name in PRODUCTS:
            read = [v.name for v in node.inputs if v is not None]
            self.operands.update(self.same_as.get(name, name) for name in read)
        source = node.inputs[0]
        if node.op.name in SAME_ELEMENTS and source is not None:
            if source.type.dtype.is_float:
                self.same_as[node.output.name] = self.same_as.get(source.name, source.name)
            return
        for value in node.outputs:
            self.observe(value)

    def observe(self, value: Value) -> None:
        """Histogram and extremes of a floating-point value, as outputs."""
        if not value.type.dtype.is_float or value.is_constant:
            return
        each = Observed(value.name, len(self.observed))
        limit = self.g.input(each.limit, dtypes.f32, ())
        counts, seen = self.g.add_node(Histogram(bins=BINS), [self.g.cast_to(value, dtypes.f32), limit])
        self.g.output(counts, each.counts)
        self.g.output(seen, each.seen)
        self.observed.append(each)
