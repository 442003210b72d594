"""ONNX InstanceNormalization: group normalisation with one channel a group."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("InstanceNormalization", since=6)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.group_normalization(n[0], n[1], n[2], groups=n[0].type.shape[1], epsilon=n.attr("epsilon", 1e-5))
