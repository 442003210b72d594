"""not a of booleans."""

from typing import Any

from engineworks.ir import boolean, example, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._torch import logical_from_torch


@op("logical_not")
class LogicalNot(DimPointwise):
    """True where x is False."""

    accepts = ("bool",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("not", xs[0])

    def on_dims(self, *dims: Any) -> Any:
        return not dims[0]

    examples = (example(boolean(2, 5)), example(boolean("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Not", LogicalNot)


logical_from_torch(LogicalNot, "aten.logical_not.default")
