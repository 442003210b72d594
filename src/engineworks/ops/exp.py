"""e to the power x."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("exp")
class Exp(Pointwise):
    """Exponential of each element."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("exp", xs[0])

    examples = (example(f32(2, 5)), example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}))


same_as_onnx("Exp", Exp)


pointwise_from_torch(Exp, "aten.exp.default")
