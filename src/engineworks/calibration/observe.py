"""A graph that measures another: every floating-point activation gets a histogram, computed where it is made.

So no activation leaves the engine: a run gives a few kilobytes a tensor, and memory is planned as in any engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engineworks.calibration.histogram import BINS
from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.copy import copy_graph
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ops.bit_cast import BitCast
from engineworks.ops.histogram import Histogram

SAME_ELEMENTS = frozenset({"reshape", "transpose", "relayout", "identity"})
"""Ops whose output holds the elements of their input, in another order: measured once."""
_MEASURES = (BitCast, Histogram)
"""Operators that the measuring graph is made with, registered by being imported."""
_ROUND_UP, _EXPONENT = 0x007F_FFFF, np.int32(-0x0080_0000)


@dataclass(frozen=True, slots=True)
class Observed:
    """One measured tensor: the names of the measuring graph's input and outputs for it."""

    name: str
    limit: str
    counts: str
    new_limit: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Measuring:
    """A graph to build, and how to read what it gives.

    Attributes:
        graph: takes the original inputs, and for each tensor the limit of its histogram so far.
        observed: the measured tensors, in the order they are computed.
        same_as: tensors that hold the elements of a measured one, by name.
    """

    graph: Graph
    observed: tuple[Observed, ...]
    same_as: dict[str, str]


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
    return Measuring(copied, tuple(observer.observed), observer.same_as)


class _Observer:
    """Adds the measuring nodes of one value after another, each right behind what it measures."""

    def __init__(self, builder: GraphBuilder) -> None:
        self.g = builder
        self.observed: list[Observed] = []
        self.same_as: dict[str, str] = {}
        self._known: set[int] = set()
        """Ids of values that follow from constants alone, such as dequantised weights: no activations."""

    def follow(self, node: Node) -> None:
        """Measure what a node gives."""
        if all(v is None or v.is_constant or id(v) in self._known for v in node.inputs):
            self._known.update(id(v) for v in node.outputs)
            return
        source = node.inputs[0]
        if node.op.name in SAME_ELEMENTS and source is not None:
            if source.type.dtype.is_float:
                self.same_as[node.output.name] = self.same_as.get(source.name, source.name)
            return
        for value in node.outputs:
            self.observe(value)

    def observe(self, value: Value) -> None:
        """Histogram, limit and extremes of a floating-point value, as outputs."""
        if not value.type.dtype.is_float or value.is_constant:
            return
        g = self.g
        number = len(self.observed)
        names = [f"calibration {number} {what}" for what in ("limit", "counts", "new limit", "low", "high")]
        x = g.cast_to(value, dtypes.f32)
        axes = tuple(range(value.type.rank))
        low, high = (
            fold(x, axes=axes, keepdims=False) if axes else x for fold in (g.reduce_min, g.reduce_max)
        )
        limit = _new_limit(g, g.input(names[0], dtypes.f32, ()), g.max(high, g.neg(low)))
        for name, output in zip(names[1:], (g.histogram(x, limit, bins=BINS), limit, low, high), strict=True):
            g.output(output, name)
        self.observed.append(Observed(value.name, *names))


def _new_limit(g: GraphBuilder, limit: Value, largest: Value) -> Value:
    """`limit` doubled until it reaches `largest`; `largest` itself where the limit is 0 (nothing seen but zeros).

    A float's bits are exponent and mantissa: adding all ones below the exponent, then clearing them, rounds a ratio
    up to a power of two. Where the ratio overflows `largest` is taken: all earlier magnitudes fall in the first bin.
    """
    bits = g.bit_cast(g.div(largest, limit), dtype=dtypes.i32)
    up = g.bitwise_and(g.add(bits, np.int32(_ROUND_UP)), _EXPONENT)
    doubled = g.mul(limit, g.max(g.bit_cast(up, dtype=dtypes.f32), 1.0))
    is_usable = g.logical_and(g.greater(limit, 0.0), g.less(doubled, np.float32(np.inf)))
    return g.where(is_usable, doubled, largest)
