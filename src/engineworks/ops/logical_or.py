"""a or b of booleans, broadcast."""

from typing import Any

from engineworks.ir import boolean, example, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx
from engineworks.ops._torch import logical_from_torch


@op("logical_or")
class LogicalOr(DimPointwise):
    """a or b of two boolean tensors."""

    accepts = ("bool",)
    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("or", *xs)

    def on_dims(self, *dims: Any) -> Any:
        return bool(dims[0]) or bool(dims[1])

    examples = (example(boolean(2, 5), boolean(5)), example(boolean("N", 3), boolean(1), dims={"N": (1, 4)}))


broadcasting_from_onnx("Or", LogicalOr)


logical_from_torch(LogicalOr, "aten.logical_or.default")
