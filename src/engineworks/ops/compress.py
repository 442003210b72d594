"""ONNX Compress: the slices of x for which a condition holds. Built from non_zero and gather."""
import numpy as np

from engineworks.core.dims import dim_min
from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops.non_zero import non_zero
from engineworks.ops.slice import Slice, sliced


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
    found = non_zero(g, sliced(g, condition, Slice((0,), (length,), (0,))))
    return g.gather(x, g.reshape_to(found, (found.type.shape[1],)), axis=axis)
