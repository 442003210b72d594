"""ONNX's convolutions of 8-bit integers: integer convolutions, whose sums are exact."""

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ir.op import REGISTRY
from engineworks.ops._integer_products import integer_conv
from engineworks.ops._windows import onnx_windows


def _along_axis_0(g: GraphBuilder, vector: Value, rank: int) -> Value:
    """A number, or a vector that broadcasts along axis 0 of a tensor."""
    if vector.type.count == 1:
        return g.reshape_to(vector, ())
    return g.reshape_to(vector, (*vector.type.shape, *(1,) * (rank - 1)))


def _product(
    g: GraphBuilder,
    n: ForeignNode,
    x: Value,
    x_zero: Value | None,
    w: Value,
    w_zero: Value | None,
    bias: Value | None,
) -> Value:
    """The exact i32 sums."""
    kernel = tuple(int(d) for d in w.type.shape[2:])  # type: ignore[arg-type]
    windows = onnx_windows(n, x.type.shape[2:], kernel)
    # pyrefly: ignore[unexpected-keyword]
    op = REGISTRY["conv"](groups=n.attr("group", 1), **windows)  # type: ignore[call-arg]
    return integer_conv(g, op, x, x_zero, w, w_zero, bias)


@from_onnx("ConvInteger")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _product(g, n, n[0], n[2], n[1], n[3], None)


@from_onnx("QLinearConv")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The exact sums, times both scales, quantised anew: a result on the edge may round otherwise."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = n.given()[:8]
    total = g.cast(_product(g, n, x, x_zero, w, w_zero, n[8]), dtype=dtypes.f32)
    # One scale for each filter lies along axis 1 of the result.
    scale = g.mul(_along_axis_0(g, w_scale, total.type.rank - 1), g.reshape_to(x_scale, ()))
    return g.quantize_linear(g.mul(total, scale), y_scale, y_zero, dtype=y_zero.type.dtype)
