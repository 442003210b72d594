"""The angle of the point (x, y)."""

import math

from engineworks.core import dtypes
from engineworks.ir import example, f32, op
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("atan2")
class Atan2(Formula):
    """The angle in [-π, π] of the point with ordinate input 0 and abscissa input 1; zeros count with their signs."""

    def formula(self, *xs: Scalar) -> Scalar:
        y, x = xs
        zero, one = const(0, x.dtype), const(1, x.dtype)
        # The signs of zeros show in bits only.
        above, left = _is_positive(y), apply("not", _is_positive(x))
        tall, wide = apply("abs", y), apply("abs", x)
        steep = apply("lt", wide, tall)
        short, long = where(steep, wide, tall), where(steep, tall, wide)
        ratio = where(apply("eq", short, long), one, short / long)
        # Both 0: the axis itself; both infinite: the diagonal.
        slope = apply("atan", where(apply("eq", long, zero), zero, ratio))
        angle = where(steep, const(math.pi / 2, x.dtype) - slope, slope)
        angle = where(left, const(math.pi, x.dtype) - angle, angle)
        angle = where(above, angle, -angle)
        return where(apply("or", apply("is_nan", x), apply("is_nan", y)), x + y, angle)

    examples = (
        example(f32(3, 5), f32(5)),
        example(f32(values=[0.0, -0.0, 0.0, -0.0, 1.0, -1.0]), f32(values=[1.0, 1.0, -1.0, -1.0, 0.0, 0.0])),
        example(f32("N", 3), f32(1), dims={"N": (1, 4)}),
    )


def _is_positive(x: Scalar) -> Scalar:
    bits = apply("bitcast", x, dtype=dtypes.i32 if x.dtype.bits == 32 else dtypes.i64)
    return apply("le", const(0, bits.dtype), bits)


pointwise_from_torch(Atan2, "aten.atan2.default")
