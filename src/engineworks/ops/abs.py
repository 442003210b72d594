"""|x|."""

from typing import Any

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, i64, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import DimPointwise


@op("abs")
class Abs(DimPointwise):
    """Absolute value; the lowest integer stays itself, as it has no positive twin."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("abs", xs[0])

    def on_dims(self, *dims: Any) -> Any:
        (x,) = dims
        return x if x >= 0 else -x

    examples = (example(f32(2, 5)), example(i64("N", 3), dims={"N": (1, 4)}))


same_as_onnx("Abs", Abs)


@from_torch("aten.abs.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    return g.abs(x) if x.type.dtype.kind in ("float", "int") else x
