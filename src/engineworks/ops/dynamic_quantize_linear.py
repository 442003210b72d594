"""ONNX DynamicQuantizeLinear: u8 with a scale and a zero point from the tensor's own range."""

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("DynamicQuantizeLinear")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value, Value]:
    """scale = (max - min) / 255 over a range widened to hold 0; zero point = round(clip(-min / scale)). A tensor of
    zeros has scale 0, and any zero point serves it: here 0.
    """
    x = n[0]
    zero = g.constant(0, dtypes.f32)
    low = g.min(g.reduce_min(x, keepdims=False), zero)
    high = g.max(g.reduce_max(x, keepdims=False), zero)
    scale = g.div(g.sub(high, low), 255)
    divisor = g.where(g.equal(scale, zero), g.constant(1, dtypes.f32), scale)
    clipped = g.min(g.max(g.div(g.neg(low), divisor), 0), 255)
    point = g.cast(g.round(clipped), dtype=dtypes.u8)
    return g.quantize_linear(x, divisor, point, dtype=dtypes.u8), scale, point
