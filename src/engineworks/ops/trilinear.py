"""torch's bilinear layers: products of three tensors, summed over axes that they share."""

from functools import reduce

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch


@from_torch("aten._trilinear.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Each operand gets axes of size 1 where `expand` says, then the product is summed over `sumdim`."""
    operands = [
        g.unsqueeze(n.arg(f"i{k}"), n.arg(f"expand{k}")) if n.arg(f"expand{k}") else n.arg(f"i{k}")
        for k in (1, 2, 3)
    ]
    return g.reduce_sum(reduce(g.mul, operands), axes=n.arg("sumdim"), keepdims=False)
