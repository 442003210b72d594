"""ONNX LpNormalization: x divided by its 1-norm or 2-norm along an axis; lines of zeros stay zeros."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._moments import widened


@from_onnx("LpNormalization")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, order, axes = n[0], n.attr("p", 2), (n.attr("axis", -1),)
    if order not in (1, 2):
        raise n.invalid(f"p={order}; the standard allows 1 and 2")
    wide = widened(g, x)
    norm = (g.reduce_l1 if order == 1 else g.reduce_l2)(wide, axes=axes, keepdims=True)
    zero = g.constant(0, wide.type.dtype)
    y = g.where(g.equal(norm, zero), zero, g.div(wide, norm))
    return g.cast_to(y, x.type.dtype)
