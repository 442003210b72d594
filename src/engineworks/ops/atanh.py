"""Inverse hyperbolic tangent."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("atanh")
class Atanh(Formula):
    """log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1]."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        a = apply("abs", x)
        size = apply("log1p", a * 2 / (1 - a)) * 0.5
        return where(apply("lt", x, const(0, x.dtype)), -size, size)

    examples = (
        example(f32(2, 5, low=-0.9, high=0.9)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Atanh", Atanh)


pointwise_from_torch(Atanh, "aten.atanh.default")
