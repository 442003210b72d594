"""a to the power b, broadcast; ONNX's operands may have different dtypes."""

from functools import reduce

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import operands_of


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


@from_torch("aten.pow.Tensor_Tensor", "aten.pow.Tensor_Scalar", "aten.pow.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """In the dtype of the result. Small whole exponents, roots and reciprocals need no power."""
    base, exponent = operands_of(g, n, "self", "exponent")
    power = n.arg("exponent")
    if isinstance(power, (int, float)):
        if power == 0.5:
            return g.sqrt(base)
        if power == -0.5:
            return g.rsqrt(base)
        if power == -1:
            return g.reciprocal(base)
        if power in (1, 2, 3):
            return reduce(g.mul, [base] * int(power))
    if base.type.dtype.is_integer:
        return _integer_power(g, base, exponent)
    return g.pow(base, exponent)


def _integer_power(g: GraphBuilder, base: Value, exponent: Value) -> Value:
    """Exponents below 0 leave what is left of 1 / base**n: its sign for 1 and -1, else 0."""
    if base.type.dtype.kind == "uint":
        return g.pow(base, exponent)
    zero, one = (g.constant(k, base.type.dtype) for k in (0, 1))
    below = g.less(exponent, zero)
    power = g.pow(base, g.where(below, g.neg(exponent), exponent))
    return g.where(below, g.where(g.equal(g.abs(base), one), power, zero), power)
