"""Remainder of a division: `mod` with the divisor's sign, `rem` with the dividend's."""

from typing import Any

from engineworks.errors import Undecided
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise, is_symbolic
from engineworks.ops._torch import pointwise_from_torch

SIGNS = (example(i64(values=[7, -7, 7, -7]), i64(values=[3, 3, -3, -3])),
         example(f32("N", 3, low=-9, high=9), f32(3, low=0.5, high=4), dims={"N": (1, 4)}))  # fmt: skip


@op("mod")
class Mod(DimPointwise):
    """a - floor(a / b) * b, as Python's %."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("mod", *xs)

    def on_dims(self, *dims: Any) -> Any:
        a, b = dims
        if not is_symbolic(a, b):
            return a % b if b else 0
        if b > 0:
            return a % b
        raise Undecided(f"{a} % {b}: a divisor that may not be positive")

    examples = SIGNS


@op("rem")
class Rem(DimPointwise):
    """a - trunc(a / b) * b, as C's % and fmod."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("rem", *xs)

    def on_dims(self, *dims: Any) -> Any:
        a, b = dims
        if not is_symbolic(a, b):
            return abs(a) % abs(b) * (-1 if a < 0 else 1) if b else 0
        if a >= 0 and b > 0:
            return a % b
        raise Undecided(f"the remainder of {a} / {b} toward zero, which has no form for a quotient below 0")

    examples = SIGNS


@from_onnx("Mod")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.rem(n[0], n[1]) if n.attr("fmod", 0) else g.mod(n[0], n[1])


pointwise_from_torch(Mod, "aten.remainder.Tensor", "aten.remainder.Scalar", "aten.remainder.Scalar_Tensor")
pointwise_from_torch(Rem, "aten.fmod.Tensor", "aten.fmod.Scalar")
