"""Examples of ops turned into graphs and arrays."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.core.dims import Dim, Sym, bounds, substitute, symbol, symbol_facts
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.cases import Example, Sample
from engineworks.ir.graph import Graph, Value
from engineworks.ir.op import REGISTRY, Op

LARGEST_COUNT = 4096
"""Bound of a size that only a run tells, where the example has none."""


@dataclass(frozen=True, slots=True)
class Case:
    """One example of one op at one set of sizes.

    Attributes:
        label: names it in test reports: 'softmax-1-N=4'.
        dims: values of the named dims.
    """

    kind: type[Op]
    example: Example
    number: int
    dims: Mapping[str, int]

    @property
    def label(self) -> str:
        sizes = "".join(f"-{n}={v}" for n, v in self.dims.items())
        return f"{self.kind.name}-{self.number}{sizes}"

    @property
    def op(self) -> Op:
        """Sizes that only a run tells are bounded, as importers do."""
        return self.kind(**{n: _bounded(a) for n, a in self.example.attributes.items()})

    def arrays(self) -> list[np.ndarray | None]:
        """One array for each input, None where omitted; the same at every call."""
        rng = np.random.default_rng(zlib.crc32(self.label.encode()))
        return [None if s is None else s.draw(rng, self.dims) for s in self.example.inputs]

    def graph(self) -> Graph:
        """A graph of this one op: inputs x0, x1, … with named dims as symbols, outputs y0, y1, …"""
        g = GraphBuilder(Graph(self.kind.name))
        values = [
            self._value(g, k, s, a)
            for k, (s, a) in enumerate(zip(self.example.inputs, self.arrays(), strict=True))
        ]
        with g.origin(self.kind.name):
            outputs = g.add_node(self.op, values)
        for k, value in enumerate(outputs):
            g.output(value, f"y{k}")
        return g.graph

    def feeds(self) -> dict[str, np.ndarray]:
        """Arrays of the graph's inputs by name (constants are in the graph)."""
        return {
            f"x{k}": a
            for k, (s, a) in enumerate(zip(self.example.inputs, self.arrays(), strict=True))
            if s is not None and a is not None and not s.constant
        }

    def _value(
        self, g: GraphBuilder, position: int, sample: Sample | None, array: np.ndarray | None
    ) -> Value | None:
        if sample is None or array is None:
            return None
        if sample.constant:
            return g.constant(array, sample.dtype, name=f"x{position}")
        taken = self.example.dims
        shape: list[Dim] = [
            symbol(d, min(taken[d]), max(taken[d])) if isinstance(d, str) else d for d in sample.shape
        ]
        return g.input(f"x{position}", sample.dtype, shape)


def _bounded(attribute: Any) -> Any:
    if not isinstance(attribute, Sym) or bounds(attribute)[1] is not None:
        return attribute
    return substitute(
        attribute,
        {n: symbol(n, low, LARGEST_COUNT, step) for n, (low, _, step) in symbol_facts(attribute).items()},
    )


def cases() -> Iterator[Case]:
    """Every example of every registered op at each of its sizes."""
    for name in sorted(REGISTRY):
        for number, given in enumerate(REGISTRY[name].examples):
            for dims in given.bindings():
                yield Case(REGISTRY[name], given, number, dims)
