"""max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula


@op("celu")
class Celu(Formula):
    """Continuously differentiable exponential linear unit."""

    alpha: float = 1.0

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return where(apply("lt", x, const(0, x.dtype)), apply("expm1", x / self.alpha) * self.alpha, x)

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("Celu", Celu, alpha="alpha")


@from_torch("aten.celu.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.celu(n.arg("self"), alpha=float(n.arg("alpha")))
