"""ONNX GlobalAveragePool: the mean over all spatial axes."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("GlobalAveragePool")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.reduce_mean(n[0], axes=tuple(range(2, n[0].type.rank)), keepdims=True)
