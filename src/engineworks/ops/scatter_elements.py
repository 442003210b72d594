"""Elements of x replaced or combined at the places that indices along one axis name."""

import math

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import known_equal
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ops._slices import sliced
from engineworks.ops._torch import at_least_1d, filled
from engineworks.ops._views import Combine, combine_at


@op("scatter_elements")
class ScatterElements(Op):
    """out = x; then out[i, indices[i, j, k], k] is updates[i, j, k] or combined with it (axis 1), in row-major order.

    Inputs: x, integer indices (negative ones count from the end), updates shaped as indices.
    """

    axis: int = 0
    combine: Combine = "none"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, indices, updates = inputs
        assert x is not None and indices is not None and updates is not None
        normalize_axis(self.axis, x.rank)
        if not indices.dtype.is_integer or indices.rank != x.rank or updates.shape != indices.shape:
            raise InvalidModel(f"indices {indices} and updates {updates} do not fit {x}")
        if updates.dtype is not x.dtype:
            raise InvalidModel(f"updates {updates} must have the dtype of {x}")
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, indices, updates = (np.asarray(a) for a in inputs)
        out, axis = np.array(x), self.axis % x.ndim
        at = list(np.ogrid[tuple(slice(d) for d in indices.shape)])
        at[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
        combine_at(out, tuple(np.broadcast_to(i, indices.shape) for i in at), updates, self.combine)
        return out

    examples = (
        example(f32(4, 5), i64(2, 3, values=[[1, 0, 3], [-1, 2, 3]]), f32(2, 3)),
        example(f32(3, 6), i64(2, 4, values=[[1, 1, 0, -6], [5, 2, 2, 2]]), f32(2, 4), axis=1, combine="add"),
        example(f32(6), i64(4, values=[1, 1, 5, 0]), f32(4), combine="mul"),
        example(f32(6), i64(4, values=[1, 1, 5, 0]), f32(4), combine="max"),
        example(i64("N", 3), i64(1, 3, values=[[0, 0, 0]]), i64(1, 3), combine="min", dims={"N": (1, 4)}),
    )


@from_onnx("ScatterElements")
@from_onnx("Scatter")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.scatter_elements(n[0], n[1], n[2], axis=n.attr("axis", 0), combine=n.attr("reduction", "none"))


@from_torch("aten.scatter.src", "aten.scatter.value")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _scattered(g, n, "none")


@from_torch("aten.scatter_add.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _scattered(g, n, "add")


@from_torch("aten.scatter.reduce", "aten.scatter.value_reduce")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _scattered(g, n, {"add": "add", "multiply": "mul"}[n.arg("reduce")])


def _scattered(g: GraphBuilder, n: ForeignNode, how: str) -> Value:
    """Updates are a number, or a tensor of which the part that the indices cover counts."""
    x, index, source = _torch_operands(g, n)
    if known_equal(index.type.count, 0):
        return n.arg("self")
    if x.type.dtype is dtypes.bool_:
        x, source, how = (
            g.cast(x, dtype=dtypes.u8),
            g.cast(source, dtype=dtypes.u8),
            "max" if how == "add" else how,
        )
    made = g.scatter_elements(x, index, source, axis=n.arg("dim"), combine=how)
    return g.reshape_to(g.cast_to(made, n.result_dtype()), n.arg("self").type.shape)


def _torch_operands(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value, Value]:
    """(x, index, updates), all with axes, the updates shaped as the index."""
    x, index = at_least_1d(g, n.arg("self")), at_least_1d(g, n.arg("index"))
    source = n.arg("src" if "src" in n.foreign.attributes else "value")
    if not isinstance(source, Value) or (
        source.type.rank == 0 != index.type.rank and "value" in n.foreign.attributes
    ):
        return x, index, filled(g, source, x.type.dtype, index.type.shape)
    source, axes = at_least_1d(g, source), tuple(range(index.type.rank))
    return x, index, sliced(g, source, (0,) * len(axes), index.type.shape, axes)


NEUTRAL = {"sum": 0, "mean": 0, "prod": 1}
HOW = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}


@from_torch("aten.scatter_reduce.two")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Places that get an update forget what they held, unless `include_self`."""
    kept, index, source = _torch_operands(g, n)
    reduce, axis, dtype = n.arg("reduce"), n.arg("dim"), kept.type.dtype
    if known_equal(index.type.count, 0):
        return n.arg("self")
    if dtype is dtypes.bool_:
        raise n.unsupported("booleans; cast them to integers before")
    x = kept
    if not n.arg("include_self"):
        neutral = filled(g, NEUTRAL.get(reduce, _limit(reduce, kept)), dtype, index.type.shape)
        x = g.scatter_elements(x, index, neutral, axis=axis)
    made = g.scatter_elements(x, index, source, axis=axis, combine=HOW[reduce])
    if reduce == "mean":
        made = _averaged(g, n, made, index)
    return g.reshape_to(made, n.arg("self").type.shape)


def _limit(reduce: str, x: Value) -> float:
    """What loses against every element."""
    if x.type.dtype.is_float:
        return -math.inf if reduce == "amax" else math.inf
    limits = np.iinfo(x.type.dtype.numpy)
    return int(limits.min if reduce == "amax" else limits.max)


def _averaged(g: GraphBuilder, n: ForeignNode, total: Value, index: Value) -> Value:
    """The sums by how many were added; of integers rounded down."""
    dtype = total.type.dtype
    start = filled(g, int(n.arg("include_self")), dtype, total.type.shape)
    ones = filled(g, 1, dtype, index.type.shape)
    count = g.max(g.scatter_elements(start, index, ones, axis=n.arg("dim"), combine="add"), 1)
    whole = total if dtype.is_float else g.sub(total, g.mod(total, count))
    return g.div(whole, count)
