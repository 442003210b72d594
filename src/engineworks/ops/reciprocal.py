"""1 / x."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("reciprocal")
class Reciprocal(Pointwise):
    """Reciprocal of each element."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return 1 / xs[0]

    examples = (
        example(f32(2, 5, low=0.5, high=4)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Reciprocal", Reciprocal)


pointwise_from_torch(Reciprocal, "aten.reciprocal.default")
