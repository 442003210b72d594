"""ONNX GlobalMaxPool: the maximum over all spatial axes."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("GlobalMaxPool")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.reduce_max(n[0], axes=tuple(range(2, n[0].type.rank)), keepdims=True)
