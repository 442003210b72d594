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
from engineworks.ops._products import PRODUCTS
from engineworks.ops.dequantize_linear import DequantizeLinear
from engineworks.ops.quantize_linear import QuantizeLinear, bounds_of


@dataclass(frozen=True, slots=True)
class LowerQuantised:
    """Replace the quantising ops between f32 and integers of up to 16 bits (DequantizeLinear: any) without blocks."""

    name: ClassVar[str] = "quantise as arithmetic"

    def run(self, rewriter: Rewriter) -> None:
        for node in list(rewriter.graph.nodes):
            if not _is_read(rewriter, node):
                continue
            if isinstance(node.op, DequantizeLinear):
                if all(v is None or v.is_constant for v in node.inputs):
                    self._replace(rewriter, node, _folded)
                elif _is_plain(node, node.op.block):
                    self._replace(rewriter, node, _dequantise if _pair_of(node) is None else _rounded)
            elif (
                isinstance(node.op, QuantizeLinear)
                and _is_plain(node, node.op.block)
                and not _is_half(rewriter, node)
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
    return g.mul(wide, _number(g, _spread(g, scale, node)))


def _quantise(g: GraphBuilder, node: Node) -> Value:
    """round(x / scale) + zero, saturated."""
    op = node.op
    assert isinstance(op, QuantizeLinear)
    grid = _grid_of(node)
    if grid is not None:
        levels = _levels(g, node, grid, grid.low, grid.high)
        return g.cast(g.add(levels, grid.zero) if grid.zero else levels, dtype=op.dtype)
    x, scale, zero = (*node.inputs, None)[:3]
    assert x is not None and scale is not None
    rounded = g.round(g.div(x, _number(g, _spread(g, scale, node))))
    if zero is not None:
        rounded = g.add(rounded, _number(g, _spread(g, zero, node)))
    low, high = bounds_of(op.dtype)
    return g.cast(g.min(g.max(rounded, float(low)), float(high)), dtype=op.dtype)


def _rounded(g: GraphBuilder, node: Node) -> Value:
    """A pair whose integers nobody else reads: numbers on the grid, without a detour over integers."""
    found = _pair_of(node)
    assert found is not None
    quantise, floor = found
    grid = _grid_of(quantise)
    assert grid is not None
    levels = _levels(g, quantise, grid, max(grid.low, floor - grid.zero), grid.high)
    return g.mul(levels, g.constant(np.float32(grid.step)))


@dataclass(frozen=True, slots=True)
class _Grid:
    """One scale and zero point, known at build: the numbers (low … high) step, with the zero point taken off."""

    step: float
    zero: float
    low: float
    high: float


def _grid_of(node: Node) -> _Grid | None:
    """Of a QuantizeLinear, or of a DequantizeLinear of integers; None: several scales, or not known."""
    scale, zero = (*node.inputs[1:], None)[:2]
    assert scale is not None
    if not all(v is None or (v.is_constant and v.type.count == 1) for v in (scale, zero)):
        return None
    narrow = node.inputs[0] if isinstance(node.op, DequantizeLinear) else node.output
    assert narrow is not None
    step, shift = float(scale.array.ravel()[0]), 0.0 if zero is None else float(zero.array.ravel()[0])
    low, high = bounds_of(narrow.type.dtype)
    return _Grid(step, shift, low - shift, high - shift) if step > 0 else None


def _levels(g: GraphBuilder, node: Node, grid: _Grid, low: float, high: float) -> Value:
    """round(x / step) between `low` and `high`, as f32; bounds that x keeps by itself are left out."""
    x = node.inputs[0]
    assert x is not None
    x, low, high = _absorb_bounds(x, grid.step, low, high)
    levels = g.round(_divided(g, x, grid.step))
    least, most = _range_of(levels)
    levels = levels if least >= low else g.max(levels, low)
    return levels if most <= high else g.min(levels, high)


def _pair_of(node: Node) -> tuple[Node, float] | None:
    """The QuantizeLinear of the same grid whose integers this DequantizeLinear alone reads, and a lower bound that they
    get on the way (a relu); None where they come from elsewhere or are stored.
    """
    value, floor = node.inputs[0], -np.inf
    grid = _grid_of(node)
    while value is not None and value.producer is not None and grid is not None and len(value.uses) == 1:
        maker = value.producer
        if isinstance(maker.op, QuantizeLinear):
            return (maker, floor) if _grid_of(maker) == grid and _is_plain(maker, maker.op.block) else None
        bound = _bound_of(maker)
        if bound is None or bound[0] != "max" or maker.op.name != "max":
            return None
        floor = max(floor, bound[1])
        value = next(v for v in maker.inputs if v is not None and not v.is_constant)
    return None


def _is_half(rewriter: Rewriter, node: Node) -> bool:
    """Its integers go to one DequantizeLinear alone, whose numbers are used up in the same kernel."""
    value = node.output
    while len(value.uses) == 1 and not rewriter.graph.is_output(value):
        reader = value.uses[0][0]
        if isinstance(reader.op, DequantizeLinear):
            found = _pair_of(reader) if _is_plain(reader, reader.op.block) else None
            return found is not None and found[0] is node and _is_used_up(rewriter, reader.output, node)
        if reader.op.name != "max":
            return False
        value = reader.output
    return False


def _is_used_up(rewriter: Rewriter, value: Value, source: Node) -> bool:
    """Pointwise work behind one product ends in integers or an output of the graph; so nothing wide is stored.

    Where two products meet, the work behind them is done in the kernel of the first.
    """
    mine = _product_behind(source.inputs[0])
    order = {id(n): k for k, n in enumerate(rewriter.graph.nodes) if n.op.name in PRODUCTS}
    while not rewriter.graph.is_output(value):
        if len(value.uses) != 1:
            return False
        reader = value.uses[0][0]
        if reader.op.name == "quantize_linear":
            return True
        if not hasattr(reader.op, "scalar"):
            return False
        others = [_product_behind(v) for v in reader.inputs if v is not value]
        if any(o is not None and (mine is None or order[id(o)] < order[id(mine)]) for o in others):
            return False
        value = reader.output
    return True


def _product_behind(value: Value | None, depth: int = 60) -> Node | None:
    """The product whose kernel can make `value`: pointwise work lies between them."""
    node = None if value is None else value.producer
    if node is None or not depth:
        return None
    if node.op.name in PRODUCTS:
        return node
    if not hasattr(node.op, "scalar") and node.op.name not in ("quantize_linear", "dequantize_linear"):
        return None
    return next((p for v in node.inputs if (p := _product_behind(v, depth - 1)) is not None), None)


def _number(g: GraphBuilder, value: Value) -> Value:
    """A scale or zero point in f32."""
    return g.constant(value.array.astype(np.float32)) if value.is_constant else g.cast_to(value, dtypes.f32)


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
def _absorb_bounds(x: Value, step: float, low: float, high: float) -> tuple[Value, float, float]:
    """What a relu, or a maximum or minimum with a number, was taken of, and the bounds of the levels with it."""
    while (node := x.producer) is not None and len(x.uses) == 1:
        bound = _bound_of(node)
        if bound is None:
            break
        kind, number = bound
        level = min(max(float(np.rint(np.float32(number) / np.float32(step))), low), high)
        low, high = (level, high) if kind == "max" else (low, level)
        x = next(v for v in node.inputs if v is not None and not v.is_constant)
    return x, low, high


def _range_of(x: Value, depth: int = 6) -> tuple[float, float]:
    """Bounds of an f32 value that its own arithmetic with numbers tells; infinite where it tells none."""
    node = x.producer
    everything = (-np.inf, np.inf)
    if node is None or not depth:
        return everything
    numbers = [
        float(v.array.ravel()[0])
        for v in node.inputs
        if v is not None and v.is_constant and v.array.size == 1
    ]
    inner = next(
        (_range_of(v, depth - 1) for v in node.inputs if v is not None and not v.is_constant), everything
    )
    match node.op.name, numbers:
        case "round", []:
            return float(np.rint(inner[0])), float(np.rint(inner[1]))
        case "max", [number]:
            return max(inner[0], number), max(inner[1], number)
        case "min", [number]:
            return min(inner[0], number), min(inner[1], number)
        case "mul", [number] if number > 0:
            return float(np.float32(inner[0]) * np.float32(number)), float(
                np.float32(inner[1]) * np.float32(number)
            )
    return everything


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
