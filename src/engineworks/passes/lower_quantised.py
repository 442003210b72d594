"""QuantizeLinear and DequantizeLinear as plain arithmetic, which fuses like any other.

Behind an integer product the division by the scale becomes a factor, or goes into the factors that are there already,
and a relu or clip in front becomes bounds of the integers. Elsewhere numbers are divided just as the model says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engineworks.core import dtypes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.interpret import run_node
from engineworks.ir.rewriter import Rewriter
from engineworks.ops.dequantize_linear import DequantizeLinear
from engineworks.ops.quantize_linear import QuantizeLinear, bounds_of

PRODUCTS = frozenset({"conv", "conv_transpose", "matmul"})


@dataclass(frozen=True, slots=True)
class LowerQuantised:
    """Replace the quantising ops between f32 and integers of up to 16 bits (DequantizeLinear: any) without blocks."""

    name: ClassVar[str] = "quantise as arithmetic"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            if isinstance(node.op, DequantizeLinear) and _is_read(rewriter, node):
                if all(v is None or v.is_constant for v in node.inputs):
                    self._replace(rewriter, node, _folded)
                elif _is_plain(node, node.op.block):
                    self._replace(rewriter, node, _dequantise)
        for node in list(rewriter.graph.nodes):
            if (
                isinstance(node.op, QuantizeLinear)
                and _is_read(rewriter, node)
                and _is_plain(node, node.op.block)
            ):
                self._replace(rewriter, node, _quantise)

    def _replace(self, rewriter: Rewriter, node: Node, lower: Callable[[GraphBuilder, Node], Value]) -> None:
        with rewriter.building(node) as g:
            new = lower(g, node)
        rewriter.replace(self.name, [node.output], [new], [node])
        _drop(rewriter, node)


def _is_read(rewriter: Rewriter, node: Node) -> bool:
    return bool(node.output.uses) or rewriter.graph.is_output(node.output)


def _drop(rewriter: Rewriter, node: Node) -> None:
    """Detach a node that nobody reads, and those that only it read: whoever counts readers counts the living."""
    if not any(v.uses or rewriter.graph.is_output(v) for v in node.outputs):
        sources = [v.producer for v in node.inputs if v is not None and v.producer is not None]
        node.detach()
        for source in sources:
            _drop(rewriter, source)


def _is_plain(node: Node, block: int) -> bool:
    x = node.inputs[0]
    assert x is not None
    wide, narrow = (node.output, x) if node.op.name == "dequantize_linear" else (x, node.output)
    return wide.type.dtype is dtypes.f32 and narrow.type.dtype.is_integer and not block


def _folded(g: GraphBuilder, node: Node) -> Value:
    """Weights that no integer product reads, as the floats they stand for."""
    (array,) = run_node(node, [None if v is None else v.array for v in node.inputs], {})
    return g.constant(array, node.output.type.dtype)


def _dequantise(g: GraphBuilder, node: Node) -> Value:
    """(x - zero) scale."""
    x, scale, zero = (*node.inputs, None)[:3]
    assert x is not None and scale is not None
    if x.type.dtype.bits > 16 and zero is not None:
        centred = g.sub(g.cast_to(x, dtypes.i32), g.cast_to(_spread(g, zero, node), dtypes.i32))
        wide = g.cast(centred, dtype=dtypes.f32)
    else:
        # f32 holds these integers and their differences.
        wide = g.cast(x, dtype=dtypes.f32)
        if zero is not None and not (zero.is_constant and not zero.array.any()):
            wide = g.sub(wide, _number(g, _spread(g, zero, node)))
    return g.mul(wide, _spread(g, scale, node))


def _quantise(g: GraphBuilder, node: Node) -> Value:
    """round(x / scale) + zero, saturated."""
    op = node.op
    assert isinstance(op, QuantizeLinear)
    x, scale, zero = (*node.inputs, None)[:3]
    assert x is not None and scale is not None
    limits = [float(b) for b in bounds_of(op.dtype)]
    known = all(v is None or (v.is_constant and v.type.count == 1) for v in (scale, zero))
    if known and float(scale.array.ravel()[0]) > 0:
        step = float(scale.array.ravel()[0])
        shift = 0.0 if zero is None else float(zero.array.ravel()[0])
        x, limits = _absorb_bounds(x, step, shift, limits)
        rounded = g.round(_divided(g, x, step))
        if shift:
            rounded = g.add(rounded, shift)
    else:
        rounded = g.round(g.div(x, _spread(g, scale, node)))
        if zero is not None:
            rounded = g.add(rounded, _number(g, _spread(g, zero, node)))
    return g.cast(g.min(g.max(rounded, limits[0]), limits[1]), dtype=op.dtype)


def _number(g: GraphBuilder, zero: Value) -> Value:
    return g.constant(zero.array.astype(np.float32)) if zero.is_constant else g.cast(zero, dtype=dtypes.f32)


def _spread(g: GraphBuilder, vector: Value, node: Node) -> Value:
    """A number, or one for each index of the op's axis, so that it broadcasts to the node's input."""
    source = node.inputs[0]
    assert source is not None
    rank, axis = source.type.rank, node.op.axis % max(1, source.type.rank)  # type: ignore[attr-defined]
    shape: tuple = () if vector.type.count == 1 else (*vector.type.shape, *(1,) * (rank - 1 - axis))
    if vector.is_constant:
        return g.constant(vector.array.reshape(shape), vector.type.dtype)
    return g.reshape_to(vector, shape)


# -- behind integer products ----------------------------------------------------------------------------------
def _absorb_bounds(x: Value, step: float, shift: float, limits: list[float]) -> tuple[Value, list[float]]:
    """What a relu, or a maximum or minimum with a number, was taken of, and the bounds of the integers with it."""
    low, high = limits
    while (node := x.producer) is not None and len(x.uses) == 1:
        bound = _bound_of(node)
        if bound is None:
            break
        kind, number = bound
        level = float(np.rint(np.float32(number) / np.float32(step))) + shift
        level = min(max(level, low), high)
        low, high = (level, high) if kind == "max" else (low, level)
        x = next(v for v in node.inputs if v is not None and not v.is_constant)
    return x, [low, high]


def _bound_of(node: Node) -> tuple[str, float] | None:
    if node.op.name == "relu":
        return "max", 0.0
    if node.op.name in ("max", "min") and len(node.inputs) == 2:
        numbers = [v for v in node.inputs if v is not None and v.is_constant and v.array.size == 1]
        if len(numbers) == 1 and numbers[0].type.rank == 0:
            return node.op.name, float(numbers[0].array.ravel()[0])
    return None


def _divided(g: GraphBuilder, x: Value, step: float) -> Value:
    """x / step; by a factor in the kernel of an integer product, where a division costs as much as the sums."""
    if not _from_integers(x):
        return g.div(x, step)
    factor = np.float32(1.0) / np.float32(step)
    scaled = _scaled(g, x, factor)
    return g.mul(x, float(factor)) if scaled is None else scaled


def _from_integers(x: Value, depth: int = 40) -> bool:
    """x is made from the sums of an integer product by pointwise work that nobody else reads."""
    node = x.producer
    if node is None or not depth or len(x.uses) > 1:
        return False
    if node.op.name in PRODUCTS:
        return x.type.dtype is dtypes.i32
    return hasattr(node.op, "scalar") and any(
        v is not None and not v.is_constant and _from_integers(v, depth - 1) for v in node.inputs
    )


def _scaled(g: GraphBuilder, x: Value, factor: np.float32) -> Value | None:
    """x * factor by other constants in the sums that x is; None where x is something else."""
    if x.is_constant:
        return g.constant(x.array * factor, dtypes.f32)
    node = x.producer
    if node is None or len(x.uses) > 1:
        return None
    if node.op.name == "mul":
        return _scaled_product(g, node.inputs, factor)
    if node.op.name in ("add", "sub", "relu"):
        parts = [_scaled(g, v, factor) for v in node.inputs if v is not None]
        if all(p is not None for p in parts):
            return g.add_node(dataclasses.replace(node.op), parts)[0]  # type: ignore[type-var]
    return None


def _scaled_product(g: GraphBuilder, inputs: Sequence[Value | None], factor: np.float32) -> Value | None:
    constants = [v for v in inputs if v is not None and v.is_constant]
    others = [v for v in inputs if v is not None and not v.is_constant]
    if len(constants) != 1 or len(others) != 1:
        return None
    return g.mul(others[0], g.constant(constants[0].array * factor, dtypes.f32))
