"""ONNX Shape: sizes are known dims, so this makes no node that reads x."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("Shape")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.dims(n[0].type.shape[n.attr("start", 0) : n.attr("end")])
