"""exp x - 1."""

from engineworks.ir import example, f32, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("expm1")
class Expm1(Pointwise):
    """exp x - 1, without cancellation near 0."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("expm1", xs[0])

    examples = (
        example(f32(2, 5, low=-9, high=9)),
        example(f32("N", 3, low=-1e-3, high=1e-3), dims={"N": (1, 4)}),
    )


pointwise_from_torch(Expm1, "aten.expm1.default")
