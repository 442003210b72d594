"""Inverse hyperbolic cosine."""

import math

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch

LARGE = 2.0**28
"""Beyond it x² + 1 equals x² in f64, so log(2x) is exact."""


@op("acosh")
class Acosh(Formula):
    """log(x + √(x² - 1)); NaN below 1."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        t = x - 1
        near = apply("log1p", t + apply("sqrt", t * (x + 1)))
        large = apply("log", x) + math.log(2)
        above = where(apply("lt", x, const(LARGE, x.dtype)), near, large)
        return where(apply("lt", x, const(1, x.dtype)), const(math.nan, x.dtype), above)

    examples = (example(f32(2, 5, low=1, high=30)), example(f32("N", 3, low=1, high=2), dims={"N": (1, 4)}))


same_as_onnx("Acosh", Acosh)


pointwise_from_torch(Acosh, "aten.acosh.default")
