"""ONNX SpaceToDepth, torch's pixel_unshuffle: blocks of pixels become blocks of channels. Built from views."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch


@from_onnx("SpaceToDepth")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, b = n[0], n.attr("blocksize")
    batch, channels, height, width = x.type.shape
    split = (batch, channels, height // b, b, width // b, b)
    perm = (0, 3, 5, 1, 2, 4) if n.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    blocks = g.transpose(g.reshape_to(x, split), perm=perm)
    return g.reshape_to(blocks, (batch, channels * b * b, height // b, width // b))


@from_torch("aten.pixel_unshuffle.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Any axes may come before those of channels, rows and columns."""
    x, b = n.arg("self"), n.arg("downscale_factor")
    *lead, channels, height, width = x.type.shape
    k = len(lead)
    apart = g.reshape_to(x, (*lead, channels, height // b, b, width // b, b))
    turned = g.transpose(apart, perm=(*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return g.reshape_to(turned, (*lead, channels * b * b, height // b, width // b))


@from_torch("aten.channel_shuffle.default", "aten.native_channel_shuffle.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Groups of channels interleaved."""
    x, groups = n.arg("self"), n.arg("groups")
    batch, channels, *rest = x.type.shape
    apart = g.reshape_to(x, (batch, groups, channels // groups, *rest))
    turned = g.transpose(apart, perm=(0, 2, 1, *range(3, 3 + len(rest))))
    return g.reshape_to(turned, x.type.shape)
