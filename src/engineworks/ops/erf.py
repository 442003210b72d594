"""Gauss's error function."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import floating, pointwise_from_torch


@op("erf")
class Erf(Pointwise):
    """2/√π ∫₀ˣ exp(-t²) dt."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("erf", xs[0])

    examples = (example(f32(2, 5)), example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}))


same_as_onnx("Erf", Erf)


pointwise_from_torch(Erf, "aten.erf.default")


@from_torch("aten.erfc.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """1 - erf x: exact to a rounding of 1, not of itself, where it is small."""
    x = floating(g, n.arg("self"))
    return g.sub(g.constant(1, x.type.dtype), g.erf(x))
