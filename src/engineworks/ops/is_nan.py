"""Where x is not a number."""

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import filled


@op("is_nan")
class IsNan(Pointwise):
    """True where x is NaN."""

    accepts = ("float",)
    result = dtypes.bool_

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("is_nan", xs[0])

    examples = (
        example(f32(values=[1, float("nan"), float("inf")])),
        example(f32("N", 3), dims={"N": (1, 4)}),
    )


same_as_onnx("IsNaN", IsNan)


@from_torch("aten.isnan.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Integers never are."""
    x = n.arg("self")
    return g.is_nan(x) if x.type.dtype.is_float else filled(g, False, dtypes.bool_, x.type.shape)
