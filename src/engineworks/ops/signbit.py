"""torch's signbit and copysign: signs that zeros and NaN have too."""

import math

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import filled, floating, operands_of

BITS = {64: dtypes.i64, 32: dtypes.i32, 16: dtypes.i16}


@from_torch("aten.signbit.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _is_negative(g, n.arg("self"))


@from_torch("aten.copysign.Tensor", "aten.copysign.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, sign = operands_of(g, n, "self", "other")
    size = g.abs(x)
    return g.where(_is_negative(g, sign), g.neg(size), size)


def _is_negative(g: GraphBuilder, x: Value) -> Value:
    if x.type.dtype.kind in ("bool", "uint"):
        return filled(g, False, dtypes.bool_, x.type.shape)
    return g.less(g.bit_cast(x, dtype=BITS[x.type.dtype.bits]) if x.type.dtype.is_float else x, 0)


@from_torch("aten.angle.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Of real numbers: π below 0, else 0; NaN stays."""
    x = floating(g, n.arg("self"))
    zero, half_turn = (g.constant(k, x.type.dtype) for k in (0, math.pi))
    return g.where(g.less(x, zero), half_turn, g.where(g.is_nan(x), x, zero))
