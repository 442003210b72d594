"""-1, 0 or 1."""

from typing import Any

from engineworks.ir import example, f32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise


@op("sign")
class Sign(DimPointwise):
    """Sign of each element; NaN stays NaN."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("sign", xs[0])

    def on_dims(self, *dims: Any) -> Any:
        (x,) = dims
        return int(x > 0) - int(x < 0)

    examples = (example(f32(2, 5)), example(i64("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Sign", Sign)
