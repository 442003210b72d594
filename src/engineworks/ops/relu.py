"""max(x, 0); NaN stays NaN."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("relu")
class Relu(Pointwise):
    """x where x > 0, else 0."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("max", xs[0], const(0, xs[0].dtype))

    examples = (example(f32(2, 5)), example(f32("N", 7, 3), dims={"N": (1, 4)}))


same_as_onnx("Relu", Relu)


pointwise_from_torch(Relu, "aten.relu.default")
