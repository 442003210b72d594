"""Gaussian error linear unit: x Φ(x), Φ being the normal distribution function."""

import math

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, op
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._pointwise import Formula


@op("gelu")
class Gelu(Formula):
    """x (1 + erf(x / √2)) / 2; with `tanh` the approximation x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.

    Both of Hendrycks and Gimpel, arXiv:1606.08415.
    """

    tanh: bool = False

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        if self.tanh:
            return x * 0.5 * (apply("tanh", (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)) + 1)
        return x * 0.5 * (apply("erf", x * math.sqrt(0.5)) + 1)

    examples = (example(f32(2, 5, low=-5, high=5)), example(f32("N", 3), tanh=True, dims={"N": (1, 4)}))


@from_onnx("Gelu")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.gelu(n[0], tanh=n.attr("approximate", "none") == "tanh")


@from_torch("aten.gelu.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.gelu(n.arg("self"), tanh=n.arg("approximate") == "tanh")
