"""torch's lerp: self + weight (end - self)."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import operands_of


@from_torch("aten.lerp.Tensor", "aten.lerp.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    a, b, weight = operands_of(g, n, "self", "end", "weight")
    return g.add(a, g.mul(weight, g.sub(b, a)))
