"""Which edges keep products of a quantised model in floating point: for explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.core import dtypes
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._products import PRODUCTS
from engineworks.rules.quantise._pairs import dequantised


@dataclass(frozen=True, slots=True)
class FloatProducts:
    """Say of each product that is still of floats, in a graph with Q/DQ, why; the graph stays as it is.

    Args:
        reasons: sentences by the names of the products' source nodes; those that are there stay.
    """

    reasons: dict[str, str]
    name: ClassVar[str] = "edges without Q/DQ"

    def run(self, rewriter: Rewriter) -> None:
        nodes = rewriter.graph.nodes
        if not any(n.op.name == "dequantize_linear" for n in nodes):
            return
        missed = {name: m.why for m in rewriter.missed if m.rule.startswith("integer ") for name in m.origins}
        for node in nodes:
            if node.op.name in PRODUCTS and node.output.type.dtype is dtypes.f32:
                why = _missing_edges(node) or next((missed[n] for n in node.origin if n in missed), "")
                for name in node.origin:
                    self.reasons.setdefault(name, why or "no rule makes integers of it")


def _missing_edges(node: Node) -> str:
    bare = [_named(v, node) for v in node.inputs[:2] if v is not None and dequantised(v) is None]
    if not bare:
        return ""
    return (
        f"the input edge {bare[0]} has no Q/DQ"
        if len(bare) == 1
        else f"the edges {' and '.join(bare)} have no Q/DQ"
    )


def _named(value: Value, node: Node) -> str:
    maker = value.producer.origin if value.producer is not None else node.origin
    return f"'{value.name or '/'.join(maker)}'" + (" (weights)" if value.is_constant else "")
