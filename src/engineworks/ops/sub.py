"""a - b, broadcast."""

from typing import Any

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, i64, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._pointwise import DimPointwise, broadcasting_from_onnx
from engineworks.ops._torch import scaled, wide_operands


@op("sub")
class Sub(DimPointwise):
    """Difference of two tensors of one dtype; integers wrap around."""

    def scalar(self, *xs: Scalar) -> Scalar:
        return xs[0] - xs[1]

    def on_dims(self, *dims: Any) -> Any:
        return dims[0] - dims[1]

    examples = (example(f32(2, 5), f32(5)), example(i64("N", 3), i64(1), dims={"N": (1, 4)}))


broadcasting_from_onnx("Sub", Sub)


@from_torch("aten.sub.Tensor", "aten.sub.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    a, b = wide_operands(g, n, "self", "other")
    return g.cast_to(g.sub(a, scaled(g, b, n.arg("alpha"))), n.result_dtype())


@from_torch("aten.rsub.Tensor", "aten.rsub.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """other - alpha self."""
    a, b = wide_operands(g, n, "self", "other")
    return g.cast_to(g.sub(b, scaled(g, a, n.arg("alpha"))), n.result_dtype())
