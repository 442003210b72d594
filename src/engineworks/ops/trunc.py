"""x without its fraction."""

from engineworks.ir import example, f32, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import rounding_from_torch


@op("trunc")
class Trunc(Pointwise):
    """x rounded toward zero; the dtype stays."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("trunc", xs[0])

    examples = (
        example(f32(values=[-2.5, -1.5, -0.4, 0.5, 1.5, 2.5, 3.2])),
        example(f32("N", 3, low=-9, high=9), dims={"N": (1, 4)}),
    )


rounding_from_torch(Trunc, "aten.trunc.default")
