"""x sigmoid(x), which ONNX spells Swish with alpha 1."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import pointwise_from_torch


@op("silu")
class Silu(Formula):
    """x sigmoid(alpha x); with alpha 1 the sigmoid linear unit."""

    alpha: float = 1.0

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return x * apply("sigmoid", x if self.alpha == 1 else x * self.alpha)

    examples = (example(f32(2, 5, low=-9, high=9)), example(f32("N", 3), alpha=1.7, dims={"N": (1, 4)}))


@from_onnx("Swish")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.silu(n[0], alpha=n.attr("alpha", 1.0))


pointwise_from_torch(Silu, "aten.silu.default")
