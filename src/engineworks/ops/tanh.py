"""Hyperbolic tangent."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("tanh")
class Tanh(Pointwise):
    """tanh x in [-1, 1]."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("tanh", xs[0])

    examples = (
        example(f32(2, 5, low=-5, high=5)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Tanh", Tanh)


pointwise_from_torch(Tanh, "aten.tanh.default")
