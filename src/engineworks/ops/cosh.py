"""Hyperbolic cosine."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("cosh")
class Cosh(Formula):
    """(exp x + exp -x) / 2, without early overflow."""

    def formula(self, *xs: Scalar) -> Scalar:
        a = apply("abs", xs[0])
        e, half = apply("exp", a), apply("exp", a * 0.5)
        return where(apply("lt", a, const(22, a.dtype)), e * 0.5 + 0.5 / e, half * 0.5 * half)

    examples = (
        example(f32(2, 5, low=-30, high=30)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Cosh", Cosh)


pointwise_from_torch(Cosh, "aten.cosh.default")
