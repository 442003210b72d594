"""x where x ≥ 0, else slope x, with a slope that is a tensor."""

from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
    same_as_onnx,
)
from engineworks.ir.scalar import Scalar, apply, const, where
from engineworks.ops._kinds import Pointwise
from engineworks.ops._moments import along_axis


@op("prelu")
class PRelu(Pointwise):
    """Rectifier whose slope below 0 is a second tensor, broadcast to x."""

    def scalar(self, *xs: Scalar) -> Scalar:
        x, slope = xs
        return where(apply("lt", x, const(0, x.dtype)), x * slope, x)

    examples = (
        example(f32(2, 5), f32(5)),
        example(f32("N", 3, 4), f32(3, 1, constant=True), dims={"N": (1, 4)}),
    )


same_as_onnx("PRelu", PRelu, since=7)


@from_onnx("PRelu")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Before opset 7 the slope is one number, or one for each channel."""
    x, slope = n[0], n[1]
    if slope.type.rank == 1 and slope.type.shape[0] != 1 and x.type.rank > 1:
        slope = g.reshape_to(slope, (slope.type.shape[0], *[1] * (x.type.rank - 2)))
    return g.prelu(x, slope)


@from_torch("aten.prelu.default", "aten._prelu_kernel.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """A vector of slopes lies along axis 1; the kernel's slopes broadcast already."""
    x, slope = n.arg("self"), n.arg("weight")
    if slope.type.rank == 1 and x.type.rank > 1:
        slope = along_axis(g, slope, 1, x.type.rank)
    return g.prelu(x, g.reshape_to(slope, ()) if x.type.rank == 0 else slope)
