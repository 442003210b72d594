"""Weights that a model keeps in 8 bits beside floats stay so: they are widened in the product, and scaled behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from engineworks.core import dtypes
from engineworks.ir.graph import Node
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._product_types import is_byte
from engineworks.rules.quantise._pairs import Dequantised, dequantised


@dataclass(frozen=True, slots=True)
class NarrowWeights:
    """x @ dequantize_linear(w) -> (x @ w) scale, for constant bytes w and x of f32: a quarter of the memory to read.

    After the rules that make products of integers. Scales of groups, and zero points, make sums of another kind:
    such weights are multiplied as the floats that they stand for.

    Args:
        reasons: sentences by the names of the products' source nodes; this pass adds its own.
    """

    reasons: dict[str, str]
    name: ClassVar[str] = "weights in 8 bits"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            found = _weights(node)
            if found is None:
                if _has_groups(node):
                    self._explain(node, "the weights have scales by groups: they are dequantised at build")
                continue
            why = _obstacle(found)
            self._explain(node, why or "f32 by weights that stay in 8 bits")
            if not why:
                _replace(self.name, rewriter, node, found)

    def _explain(self, node: Node, why: str) -> None:
        for name in node.origin:
            self.reasons.setdefault(name, why)


def _weights(node: Node) -> Dequantised | None:
    """How the right side was dequantised from constant bytes, where both sides are f32."""
    if node.op.name != "matmul" or node.output.type.dtype is not dtypes.f32:
        return None
    left = node.inputs[0]
    found = dequantised(node.inputs[1])
    if found is None or not (found.x.is_constant and is_byte(found.x.type.dtype)):
        return None
    return found if left is not None and left.type.dtype is dtypes.f32 and not left.is_constant else None


def _has_groups(node: Node) -> bool:
    """The right side of a matmul is dequantised by groups from a constant, and perhaps transposed."""
    maker = node.inputs[1].producer if node.op.name == "matmul" and node.inputs[1] is not None else None
    if maker is not None and maker.op.name == "transpose" and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer
    if maker is None or maker.op.name != "dequantize_linear" or not maker.op.block:  # type: ignore[attr-defined]
        return False
    return maker.inputs[0] is not None and maker.inputs[0].is_constant


def _obstacle(weights: Dequantised) -> str:
    if not weights.scale.is_constant or (weights.zero is not None and not weights.zero.is_constant):
        return "the weights' scales are not known at build: they are dequantised before the product"
    if weights.axis not in (None, weights.x.type.rank - 1):
        return "the weights have scales along the axis that is summed: they are dequantised at build"
    if weights.zero is not None and weights.zero.array.any():
        return "the weights have zero points: they are dequantised at build"
    return ""


def _replace(name: str, rewriter: Rewriter, node: Node, weights: Dequantised) -> None:
    with rewriter.building(node) as g:
        sums = g.matmul(node.inputs[0], weights.x, out_dtype=dtypes.f32)
        scale = weights.scale.array
        number = scale.reshape(-1) if weights.axis is not None else scale.reshape(())
        new = sums if (number == 1).all() else g.mul(sums, g.constant(number, dtypes.f32))
    rewriter.replace(name, [node.output], [new], [node])
