"""torch's hypot and ldexp."""

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import operands_of


@from_torch("aten.hypot.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """√(x² + y²), in f64 so that squares do not overflow."""
    a, b = (g.cast_to(x, dtypes.f64) for x in operands_of(g, n, "self", "other"))
    return g.cast_to(g.sqrt(g.add(g.mul(a, a), g.mul(b, b))), n.result_dtype())


@from_torch("aten.ldexp.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """self 2**other."""
    x, power = operands_of(g, n, "self", "other")
    return g.mul(x, g.pow(g.constant(2, x.type.dtype), power))
