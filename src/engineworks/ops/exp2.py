"""torch's exp2: 2 to the power x."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import floating


@from_torch("aten.exp2.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = floating(g, n.arg("self"))
    return g.pow(g.constant(2, x.type.dtype), x)
