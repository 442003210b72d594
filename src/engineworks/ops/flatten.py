"""ONNX Flatten: two axes, split at `axis`. Built as a reshape."""

from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("Flatten")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    axis, rank = n.attr("axis", 1), n[0].type.rank
    return g.flatten_at(n[0], rank if axis == rank else normalize_axis(axis, max(rank, 1)))
