"""x where x ≥ 0, else alpha x."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._pointwise import Formula


@op("leaky_relu")
class LeakyRelu(Formula):
    """Rectifier with a small slope below 0."""

    alpha: float = 0.01

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return where(apply("lt", x, const(0, x.dtype)), x * self.alpha, x)

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), alpha=0.7, dims={"N": (1, 4)}))


same_as_onnx("LeakyRelu", LeakyRelu, alpha="alpha")


@from_torch("aten.leaky_relu.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.leaky_relu(n.arg("self"), alpha=float(n.arg("negative_slope")))
