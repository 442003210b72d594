"""Nearest integer, halves to even."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_torch, op, same_as_onnx
from engineworks.ir.scalar import Scalar, apply
from engineworks.ops._kinds import Pointwise
from engineworks.ops._torch import rounding_from_torch


@op("round")
class Round(Pointwise):
    """x rounded; the dtype stays."""

    accepts = ("float",)

    def scalar(self, *xs: Scalar) -> Scalar:
        return apply("round_even", xs[0])

    examples = (
        example(f32(values=[-2.5, -1.5, -0.4, 0.5, 1.5, 2.5, 3.2])),
        example(f32("N", 3, low=0.2, high=0.9), dims={"N": (1, 4)}),
    )


same_as_onnx("Round", Round)


rounding_from_torch(Round, "aten.round.default")


@from_torch("aten.round.decimals")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Scaled by a power of ten, rounded, and scaled back, as torch computes it."""
    x, decimals = n.arg("self"), n.arg("decimals")
    if not x.type.dtype.is_float:
        return x
    power = float(10 ** abs(decimals))
    if decimals < 0:
        return g.mul(g.round(g.div(x, power)), power)
    return g.div(g.round(g.mul(x, power)), power)
