"""What Loop and Scan share: bodies unrolled at build, and their results stacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engineworks.core.types import TensorType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Value

MOST_NODES = 20_000
"""That unrolling may make."""


class Body:
    """The body of a loop, imported anew for each round: what is constant in a round is constant inside it."""

    def __init__(self, g: GraphBuilder, n: ForeignNode) -> None:
        self.g, self.n = g, n
        self._made = 0

    def types(self, arguments: Sequence[TensorType]) -> list[TensorType]:
        """Types of the outputs for inputs of these types."""
        region, _ = self.n.import_graph(self.n.attr("body"), list(arguments))
        return [v.type for v in region.graph.outputs]

    def run(self, arguments: Sequence[Value]) -> list[Value]:
        """One round, its nodes appended to the graph. Raises UnsupportedOperator when they become too many."""
        region, captured = self.n.import_graph(self.n.attr("body"), list(arguments))
        self._made += len(region.graph.nodes)
        if self._made > MOST_NODES:
            raise self.n.unsupported(f"unrolling it makes more than {MOST_NODES} nodes")
        return self.g.inline(region, [*(v for v in arguments if v.constant is None), *captured])


def stacked(g: GraphBuilder, parts: Sequence[Value], one: TensorType, axis: int = 0) -> Value:
    """The parts along a new axis; `one` is the type of a part, for when there are none."""
    if not parts:
        if not one.is_static:
            shape = (*one.shape[:axis], 0, *one.shape[axis:])
            return g.expand(g.constant(np.zeros((), one.dtype.numpy)), shape=shape)
        return g.constant(np.zeros((*one.shape[:axis], 0, *one.shape[axis:]), one.dtype.numpy))  # type: ignore[arg-type]
    wide = [g.unsqueeze(part, (axis,)) for part in parts]
    return wide[0] if len(wide) == 1 else g.concat(*wide, axis=axis)
