"""a to the power b, broadcast; ONNX's operands may have different dtypes."""

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise


@op("pow")
class Pow(Pointwise):
    """Power of two tensors of one dtype."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("pow", *xs)

    examples = (example(f32(2, 5, low=0.1, high=4), f32(5)),
                example(i64("N", 3), i64(1, low=0, high=3), dims={"N": (1, 4)}))  # fmt: skip


@from_onnx("Pow")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The result has the base's dtype. Small constant exponents are products: exact, and no call to pow."""
    base, exponent = n[0], n[1]
    if exponent.constant is not None and exponent.array.size == 1 and exponent.type.rank <= base.type.rank:
        power = float(np.asarray(exponent.array).reshape(-1)[0])
        if power == 2:
            return g.mul(base, base)
        if power == 3:
            return g.mul(g.mul(base, base), base)
    dtype = base.type.dtype
    if dtype.is_integer and exponent.type.dtype.is_float:
        power = g.pow(g.cast_to(base, dtypes.f64), g.cast_to(exponent, dtypes.f64))
        return g.cast_to(power, dtype)
    return g.pow(base, g.cast_to(exponent, dtype))
