"""The smaller of two elements; ONNX's variadic Min is a chain of them."""

from functools import reduce
from typing import Any

from engineworks.core.dims import dim_min
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise
from engineworks.ops._torch import bitwise_from_torch, numbers_first, operands_of


@op("min")
class Min(DimPointwise):
    """The smaller of a and b; NaN when either is NaN."""

    commutes = True

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("min", *xs)

    def on_dims(self, *dims: Any) -> Any:
        return dim_min(*dims)

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}),
                example(f32(values=[1, float("nan"), -1]), f32(values=[float("nan"), 0, 2])))  # fmt: skip


@from_onnx("Min")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return reduce(g.min, n.given())


bitwise_from_torch(Min, "logical_and", "aten.minimum.default")


@from_torch("aten.fmin.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A number wins over NaN."""
    return numbers_first(g, g.min, *operands_of(g, n, "self", "other"))
