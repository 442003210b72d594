"""torch's addcmul and addcdiv: self + value tensor1 tensor2, or their quotient."""

from collections.abc import Callable

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._moments import widened
from engineworks.ops._torch import operands_of, scaled


@from_torch("aten.addcmul.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _added(g, n, g.mul)


@from_torch("aten.addcdiv.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _added(g, n, g.div)


def _added(g: GraphBuilder, n: ForeignNode, combine: Callable[..., Value]) -> Value:
    """16-bit floats are rounded once, at the end."""
    x, a, b = (
        widened(g, v) if n.result_dtype().is_float else v
        for v in operands_of(g, n, "self", "tensor1", "tensor2")
    )
    return g.cast_to(g.add(x, scaled(g, combine(a, b), n.arg("value"))), n.result_dtype())
