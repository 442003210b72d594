"""a * b, broadcast."""

from typing import Any

from engineworks.ir import example, f32, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx
from engineworks.ops._torch import bitwise_from_torch


@op("mul")
class Mul(DimPointwise):
    """Product of two tensors of one dtype; integers wrap around."""

    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return xs[0] * xs[1]

    def on_dims(self, *dims: Any) -> Any:
        return dims[0] * dims[1]

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}))


broadcasting_from_onnx("Mul", Mul)


bitwise_from_torch(Mul, "logical_and", "aten.mul.Tensor", "aten.mul.Scalar")
