"""Inverse cosine."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("acos")
class Acos(Pointwise):
    """acos x in [0, π]; NaN outside of [-1, 1]."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("acos", xs[0])

    examples = (
        example(f32(2, 5, low=-1, high=1)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Acos", Acos)


pointwise_from_torch(Acos, "aten.acos.default")
