"""-1, 0 or 1."""

from typing import Any

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise


@op("sign")
class Sign(DimPointwise):
    """Sign of each element; NaN stays NaN."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("sign", xs[0])

    def on_dims(self, *dims: Any) -> Any:
        (x,) = dims
        return int(x > 0) - int(x < 0)

    examples = (example(f32(2, 5)), example(i64("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Sign", Sign)


@from_torch("aten.sign.default", "aten.sgn.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """NaN gives 0, where ONNX keeps it."""
    x = n.arg("self")
    if x.type.dtype is dtypes.bool_:
        return x
    sign = g.sign(x)
    return g.where(g.is_nan(x), g.constant(0, x.type.dtype), sign) if x.type.dtype.is_float else sign
