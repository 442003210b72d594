"""x where x ≥ 0, else alpha (exp x - 1)."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import scaled


@op("elu")
class Elu(Formula):
    """Exponential linear unit."""

    alpha: float = 1.0

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return where(apply("lt", x, const(0, x.dtype)), apply("expm1", x) * self.alpha, x)

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("Elu", Elu, alpha="alpha")


@from_torch("aten.elu.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """scale x above 0, else scale alpha (exp(input_scale x) - 1)."""
    x, alpha, scale, inner = n.arg("self"), *(float(n.arg(a)) for a in ("alpha", "scale", "input_scale"))
    if inner == 1:
        return scaled(g, g.elu(x, alpha=alpha), scale)
    below = g.mul(g.expm1(g.mul(x, inner)), alpha)
    return scaled(g, g.where(g.greater(x, 0.0), x, below), scale)
