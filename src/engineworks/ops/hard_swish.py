"""x clip(x / 6 + 1/2, 0, 1)."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("hard_swish")
class HardSwish(Formula):
    """The piecewise swish of MobileNetV3."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        gate = apply("min", apply("max", x / 6 + 0.5, const(0, x.dtype)), const(1, x.dtype))
        return x * gate

    examples = (
        example(f32(2, 5, low=-5, high=5)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("HardSwish", HardSwish)


pointwise_from_torch(HardSwish, "aten.hardswish.default")
