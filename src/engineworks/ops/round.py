"""Nearest integer, halves to even."""

from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise


@op("round")
class Round(Pointwise):
    """x rounded; the dtype stays."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("round_even", xs[0])

    examples = (
        example(f32(values=[-2.5, -1.5, -0.4, 0.5, 1.5, 2.5, 3.2])),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Round", Round)
