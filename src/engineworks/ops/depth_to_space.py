"""ONNX DepthToSpace, torch's pixel_shuffle: blocks of channels become blocks of pixels. Built from views."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch


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


@from_torch("aten.pixel_shuffle.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Any axes may come before those of channels, rows and columns."""
    x, b = n.arg("self"), n.arg("upscale_factor")
    *lead, channels, height, width = x.type.shape
    k, depth = len(lead), channels // (b * b)
    apart = g.reshape_to(x, (*lead, depth, b, b, height, width))
    turned = g.transpose(apart, perm=(*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return g.reshape_to(turned, (*lead, depth, height * b, width * b))
