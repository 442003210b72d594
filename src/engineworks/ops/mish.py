"""x tanh(log(1 + exp x))."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("mish")
class Mish(Formula):
    """The self-gated activation of Misra, arXiv:1908.08681."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        softplus = apply("max", x, const(0, x.dtype)) + apply("log1p", apply("exp", -apply("abs", x)))
        return x * apply("tanh", softplus)

    examples = (
        example(f32(2, 5, low=-9, high=9)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Mish", Mish)


pointwise_from_torch(Mish, "aten.mish.default")
