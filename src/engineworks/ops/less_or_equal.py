"""a ≤ b, broadcast."""

from typing import Any

from engineworks.core import dtypes
from engineworks.ir import example, f32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._torch import comparison_from_torch


@op("less_or_equal")
class LessOrEqual(DimPointwise):
    """True where a ≤ b; False where either is NaN."""

    result = dtypes.bool_

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("le", *xs)

    def on_dims(self, *dims: Any) -> Any:
        return bool(dims[0] <= dims[1])

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}))


same_as_onnx("LessOrEqual", LessOrEqual)


comparison_from_torch(lambda g, xs: g.less_or_equal(*xs), "aten.le.Tensor", "aten.le.Scalar")
