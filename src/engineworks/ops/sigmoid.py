"""Logistic function."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("sigmoid")
class Sigmoid(Pointwise):
    """1 / (1 + exp(-x))."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("sigmoid", xs[0])

    examples = (
        example(f32(2, 5, low=-9, high=9)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Sigmoid", Sigmoid)


pointwise_from_torch(Sigmoid, "aten.sigmoid.default")
