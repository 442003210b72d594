"""Cosine."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("cos")
class Cos(Pointwise):
    """cos x, radians."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("cos", xs[0])

    examples = (
        example(f32(2, 5, low=-9, high=9)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Cos", Cos)


pointwise_from_torch(Cos, "aten.cos.default")
