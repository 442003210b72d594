"""torch's log2 and log10: the natural logarithm times a constant."""

import math

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import floating


def _times_log(g: GraphBuilder, n: ForeignNode, factor: float) -> Value:
    return g.mul(g.log(floating(g, n.arg("self"))), factor)


@from_torch("aten.log2.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _times_log(g, n, 1 / math.log(2))


@from_torch("aten.log10.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _times_log(g, n, 1 / math.log(10))
