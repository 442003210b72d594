"""Inverse hyperbolic sine."""

import math

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch

LARGE = 2.0**28
"""Beyond it x² + 1 equals x² in f64, so log(2x) is exact."""


@op("asinh")
class Asinh(Formula):
    """log(x + √(x² + 1)), odd, without cancellation near 0 or overflow of x²."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        a = apply("abs", x)
        near = apply("log1p", a + a * a / (1 + apply("sqrt", a * a + 1)))
        size = where(apply("lt", a, const(LARGE, x.dtype)), near, apply("log", a) + math.log(2))
        return where(apply("lt", x, const(0, x.dtype)), -size, size)

    examples = (
        example(f32(2, 5, low=-30, high=30)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Asinh", Asinh)


pointwise_from_torch(Asinh, "aten.asinh.default")
