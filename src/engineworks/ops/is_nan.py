"""Where x is not a number."""

from engineworks.core import dtypes
from engineworks.ir import example, f32, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise


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
