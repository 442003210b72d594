"""torch's addcmul and addcdiv: self + value tensor1 tensor2, or their quotient."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import operands_of, scaled


@from_torch("aten.addcmul.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, a, b = operands_of(g, n, "self", "tensor1", "tensor2")
    return g.add(x, scaled(g, g.mul(a, b), n.arg("value")))


@from_torch("aten.addcdiv.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, a, b = operands_of(g, n, "self", "tensor1", "tensor2")
    return g.add(x, scaled(g, g.div(a, b), n.arg("value")))
