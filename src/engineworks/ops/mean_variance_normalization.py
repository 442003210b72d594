"""ONNX MeanVarianceNormalization: (x - mean) / (standard deviation + 1e-9) over axes."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._moments import centered, widened

EPSILON = 1e-9
"""Of the function body that defines the operator."""


@from_onnx("MeanVarianceNormalization")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n[0]
    _, low, variance = centered(g, widened(g, x), tuple(n.attr("axes", (0, 2, 3))))
    return g.cast_to(g.div(low, g.add(g.sqrt(variance), EPSILON)), x.type.dtype)
