"""1 / √x, which normalisations need."""

from engineworks.ir import example, f32, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("rsqrt")
class Rsqrt(Pointwise):
    """Reciprocal square root."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("rsqrt", xs[0])

    examples = (
        example(f32(2, 5, low=0.1, high=9)),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


pointwise_from_torch(Rsqrt, "aten.rsqrt.default")
