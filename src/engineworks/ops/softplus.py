"""log(1 + exp x)."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply, const
from engineworks.ops._pointwise import Formula
from engineworks.ops._torch import scaled


@op("softplus")
class Softplus(Formula):
    """A smooth maximum of x and 0; exp never overflows here."""

    def formula(self, *xs: Scalar) -> Scalar:
        (x,) = xs
        return apply("max", x, const(0, x.dtype)) + apply("log1p", apply("exp", -apply("abs", x)))

    examples = (
        example(f32(2, 5, low=-30, high=30)),
        example(f32("N", 3, low=-0.9, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Softplus", Softplus)


@from_torch("aten.softplus.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    x, beta, threshold = n.arg("self"), float(n.arg("beta")), float(n.arg("threshold"))
    inner = scaled(g, x, beta)
    smooth = scaled(g, g.softplus(inner), 1 / beta)
    return g.where(g.greater(inner, threshold), x, smooth)
