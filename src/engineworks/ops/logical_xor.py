"""a exclusive-or b of booleans, broadcast."""

from typing import Any

from engineworks.ir import boolean, example, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx
from engineworks.ops._torch import logical_from_torch


@op("logical_xor")
class LogicalXor(DimPointwise):
    """a exclusive-or b of two boolean tensors."""

    accepts = ("bool",)
    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("xor", *xs)

    def on_dims(self, *dims: Any) -> Any:
        return bool(dims[0]) != bool(dims[1])

    examples = (example(boolean(2, 5), boolean(5)), example(boolean("N", 3), boolean(1), dims={"N": (1, 4)}))


broadcasting_from_onnx("Xor", LogicalXor)


logical_from_torch(LogicalXor, "aten.logical_xor.default")
