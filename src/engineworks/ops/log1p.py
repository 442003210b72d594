"""log(1 + x)."""

from engineworks.ir import example, f32, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import pointwise_from_torch


@op("log1p")
class Log1p(Pointwise):
    """log(1 + x), exact near 0; -inf at -1, NaN below."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("log1p", xs[0])

    examples = (
        example(f32(2, 5, low=-0.9, high=9)),
        example(f32("N", 3, low=-1e-3, high=1e-3), dims={"N": (1, 4)}),
    )


pointwise_from_torch(Log1p, "aten.log1p.default")
