"""-x."""

from typing import Any

from engineworks.ir import example, f32, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._torch import pointwise_from_torch


@op("neg")
class Neg(DimPointwise):
    """Negation; integers wrap around."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return -xs[0]

    def on_dims(self, *dims: Any) -> Any:
        return -dims[0]

    examples = (example(f32(2, 5)), example(i64("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Neg", Neg)


pointwise_from_torch(Neg, "aten.neg.default")
