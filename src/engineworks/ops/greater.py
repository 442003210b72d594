"""a > b, broadcast."""

from typing import Any

from engineworks.core import dtypes
from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx
from engineworks.ops._torch import comparison_from_torch


@op("greater")
class Greater(DimPointwise):
    """True where a > b; False where either is NaN."""

    result = dtypes.bool_

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("lt", xs[1], xs[0])

    def on_dims(self, *dims: Any) -> Any:
        return bool(dims[0] > dims[1])

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}))


broadcasting_from_onnx("Greater", Greater)


comparison_from_torch(lambda g, xs: g.greater(*xs), "aten.gt.Tensor", "aten.gt.Scalar")
