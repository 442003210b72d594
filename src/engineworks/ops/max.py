"""The larger of two elements; ONNX's variadic Max is a chain of them."""

from functools import reduce
from typing import Any

from engineworks.core.dims import dim_max
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._torch import bitwise_from_torch, numbers_first, operands_of


@op("max")
class Max(DimPointwise):
    """The larger of a and b; NaN when either is NaN."""

    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("max", *xs)

    def on_dims(self, *dims: Any) -> Any:
        return dim_max(*dims)

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}),
                example(f32(values=[1, float("nan"), -1]), f32(values=[float("nan"), 0, 2])))  # fmt: skip


@from_onnx("Max")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return reduce(g.max, n.given())


bitwise_from_torch(Max, "logical_or", "aten.maximum.default")


@from_torch("aten.fmax.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A number wins over NaN."""
    return numbers_first(g, g.max, *operands_of(g, n, "self", "other"))
