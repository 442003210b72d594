"""Hyperbolic sine."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("sinh")
class Sinh(Formula):
    """(exp x - exp -x) / 2, without cancellation near 0 or early overflow."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        a = apply("abs", x)
        t, half = apply("expm1", a), apply("exp", a * 0.5)
        size = where(apply("lt", a, const(22, x.dtype)), (t + t / (t + 1)) * 0.5, half * 0.5 * half)
        return where(apply("lt", x, const(0, x.dtype)), -size, size)

    examples = (
        example(f32(2, 5, low=-30, high=30)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Sinh", Sinh)


pointwise_from_torch(Sinh, "aten.sinh.default")
