"""Floating-point numbers that follow from sizes, as torch.export has them: x * n ** -0.5 for a size n."""

from functools import reduce

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch

Expression = tuple
"""(operation, operands…); ("number", x) at the leaves, x a number or a size."""


@from_torch("sizes.number")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _computed(g, n.arg("expression"))


def _computed(g: GraphBuilder, expression: Expression) -> Value:
    """The expression as f64 of rank 0: what Python computes with."""
    operation, *operands = expression
    if operation == "number":
        return _leaf(g, *operands)
    make = getattr(g, operation)
    values = [_computed(g, e) for e in operands]
    return make(*values) if len(values) < 3 else reduce(make, values)


def _leaf(g: GraphBuilder, number: Dim | float) -> Value:
    if isinstance(number, float):
        return g.constant(number, dtypes.f64)
    return g.cast_to(g.dims(number), dtypes.f64)
