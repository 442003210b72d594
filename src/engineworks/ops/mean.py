"""ONNX Mean: the average of all inputs, broadcast."""

from functools import reduce

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("Mean")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return n[0] if len(n) == 1 else g.div(reduce(g.add, n.inputs), len(n))
