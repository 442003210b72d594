"""ONNX's and torch's unsqueeze: axes of size 1 added. Built as a reshape."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._axes import axes_of


@from_onnx("Unsqueeze")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    axes = axes_of(n, 1)
    if axes is None:
        raise n.invalid("it needs axes")
    return g.unsqueeze(n[0], axes)


@from_torch("aten.unsqueeze.default", "aten.unsqueeze_copy.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return g.unsqueeze(n.arg("self"), (n.arg("dim"),))
