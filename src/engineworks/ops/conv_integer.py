"""ONNX's convolutions of 8-bit integers: of the numbers they stand for, as floats that hold every sum."""

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._windows import onnx_windows


def _centred(g: GraphBuilder, x: Value, zero: Value | None, dtype: DType) -> Value:
    """x less its zero point, which is one number or has one for each index of axis 0 (filters)."""
    x = g.cast(x, dtype=dtype)
    if zero is None:
        return x
    return g.sub(x, _along_axis_0(g, g.cast(zero, dtype=dtype), x.type.rank))


def _along_axis_0(g: GraphBuilder, vector: Value, rank: int) -> Value:
    """A number, or a vector that broadcasts along axis 0 of a tensor."""
    if vector.type.count == 1:
        return g.reshape_to(vector, ())
    return g.reshape_to(vector, (*vector.type.shape, *(1,) * (rank - 1)))


def _product(g: GraphBuilder, n: ForeignNode, x: Value, w: Value, bias: Value | None = None) -> Value:
    kernel = tuple(int(d) for d in w.type.shape[2:])  # type: ignore[arg-type]
    return g.conv(x, w, bias, groups=n.attr("group", 1), **onnx_windows(n, x.type.shape[2:], kernel))


@from_onnx("ConvInteger")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Exact: an f64 holds every sum."""
    x, w = _centred(g, n[0], n[2], dtypes.f64), _centred(g, n[1], n[3], dtypes.f64)
    return g.cast(_product(g, n, x, w), dtype=dtypes.i32)


@from_onnx("QLinearConv")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The f32 product of the integers, times both scales, quantised anew: a result on the edge may round otherwise."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = n.given()[:8]
    bias = None if n[8] is None else g.cast(n[8], dtype=dtypes.f32)
    total = _product(g, n, _centred(g, x, x_zero, dtypes.f32), _centred(g, w, w_zero, dtypes.f32), bias)
    # One scale for each filter lies along axis 1 of the result.
    scale = g.mul(_along_axis_0(g, w_scale, total.type.rank - 1), g.reshape_to(x_scale, ()))
    return g.quantize_linear(g.mul(total, scale), y_scale, y_zero, dtype=y_zero.type.dtype)
