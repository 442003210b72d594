"""ONNX DepthToSpace: blocks of channels become blocks of pixels. Built from views."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("DepthToSpace")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, b = n[0], n.attr("blocksize")
    batch, channels, height, width = x.type.shape
    depth = channels // (b * b)
    if n.attr("mode", "DCR") == "DCR":
        split, perm = (batch, b, b, depth, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (batch, depth, b, b, height, width), (0, 1, 4, 2, 5, 3)
    return g.reshape_to(g.transpose(g.reshape_to(x, split), perm=perm), (batch, depth, height * b, width * b))
