"""a / b, broadcast."""

from typing import Any

from engineworks.errors import Undecided
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx, is_symbolic
from engineworks.ops._torch import operands_of, wide_operands


@op("div")
class Div(DimPointwise):
    """Quotient of two tensors of one dtype; integers divide toward zero, and by zero give any value."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return xs[0] / xs[1]

    def on_dims(self, *dims: Any) -> Any:
        a, b = dims
        if not is_symbolic(a, b):
            return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
        if a >= 0 and b > 0:
            return a // b
        raise Undecided(f"{a} / {b} rounds toward zero, which has no form for a quotient below 0")

    examples = (
        example(f32(2, 5), f32(5, low=0.5, high=4)),
        example(i64("N", 3), i64(1, low=1), dims={"N": (1, 4)}),
        example(i64(values=[7, -7, 7, -7]), i64(values=[2, 2, -2, -2])),
    )


broadcasting_from_onnx("Div", Div)


@from_torch("aten.div.Tensor", "aten.div.Scalar", "aten.true_divide.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Integers become floats."""
    return g.cast_to(g.div(*wide_operands(g, n, "self", "other")), n.result_dtype())


@from_torch("aten.div.Tensor_mode", "aten.div.Scalar_mode")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    a, b = operands_of(g, n, "self", "other")
    mode = n.arg("rounding_mode")
    if mode == "floor":
        return _floored(g, a, b)
    quotient = g.div(a, b)
    return g.trunc(quotient) if mode == "trunc" and a.type.dtype.is_float else quotient


@from_torch("aten.floor_divide.default", "aten.floor_divide.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _floored(g, *operands_of(g, n, "self", "other"))


def _floored(g: GraphBuilder, a: Value, b: Value) -> Value:
    """a / b rounded down. Of floats the remainder is taken off first, as the rounded quotient may be whole where the
    true one is less (1 / 0.1).
    """
    if not a.type.dtype.is_float:
        return g.div(g.sub(a, g.mod(a, b)), b)
    zero, rest = g.constant(0, a.type.dtype), g.rem(a, b)
    whole = g.div(g.sub(a, rest), b)
    beyond = g.logical_and(
        g.logical_not(g.equal(rest, zero)), g.logical_xor(g.less(b, zero), g.less(rest, zero))
    )
    whole = g.round(g.where(beyond, g.sub(whole, 1.0), whole))
    return g.where(g.equal(b, zero), g.div(a, b), whole)
