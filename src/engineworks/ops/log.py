"""Natural logarithm."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("log")
class Log(Pointwise):
    """log x; -inf at 0, NaN below."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("log", xs[0])

    examples = (
        example(f32(2, 5, low=0.01, high=9)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Log", Log)


pointwise_from_torch(Log, "aten.log.default")
