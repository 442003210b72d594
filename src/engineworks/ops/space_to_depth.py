"""ONNX SpaceToDepth: blocks of pixels become blocks of channels. Built from views."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("SpaceToDepth")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, b = n[0], n.attr("blocksize")
    batch, channels, height, width = x.type.shape
    split = (batch, channels, height // b, b, width // b, b)
    perm = (0, 3, 5, 1, 2, 4) if n.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    blocks = g.transpose(g.reshape_to(x, split), perm=perm)
    return g.reshape_to(blocks, (batch, channels * b * b, height // b, width // b))
