"""ONNX Compress: the slices of x for which a condition holds. Built from non_zero and gather."""

import numpy as np

from engineworks.core.dims import bounds, dim_min
from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._slices import sliced


@from_onnx("Compress")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A condition shorter than the axis leaves the rest out; without an axis x is flattened."""
    x, condition, axis = n[0], n[1], n.attr("axis")
    if axis is None:
        x, axis = g.reshape_to(x, (x.type.count,)), 0
    axis = normalize_axis(axis, x.type.rank)
    if condition.constant is not None:
        picked = np.flatnonzero(condition.array)
        return g.gather(x, g.constant(picked.astype(np.int64)), axis=axis)
    length = dim_min(condition.type.shape[0], x.type.shape[axis])
    count = g.graph.scope.fresh("nonzero", 0, bounds(length)[1])
    found = g.non_zero(sliced(g, condition, (0,), (length,), (0,)), count=count)
    return g.gather(x, g.reshape_to(found, (found.type.shape[1],)), axis=axis)
