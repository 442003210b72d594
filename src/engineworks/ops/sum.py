"""ONNX Sum: all inputs added, broadcast."""

from functools import reduce

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("Sum")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return reduce(g.add, n.given())
