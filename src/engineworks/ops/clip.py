"""ONNX Clip, torch's clamp and hardtanh: min(max(x, low), high), so that `high` wins where the bounds cross."""

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._torch import Operand, in_dtype


@from_onnx("Clip", since=11)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, low, high = n[0], n[1], n[2]
    x = x if low is None else g.max(x, low)
    return x if high is None else g.min(x, high)


@from_onnx("Clip", since=6)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Bounds as attributes; the defaults are the lowest and the highest f32."""
    x, low, high = n[0], n.attr("min"), n.attr("max")
    x = x if low is None else g.max(x, low)
    return x if high is None else g.min(x, high)


@from_torch("aten.clamp.default", "aten.clamp.Tensor", "aten.hardtanh.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Bounds are numbers or tensors, and may be None."""
    names = ("min_val", "max_val") if "min_val" in n.foreign.attributes else ("min", "max")
    return _between(g, n, *(n.arg(name) for name in names))


@from_torch("aten.clamp_min.default", "aten.clamp_min.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _between(g, n, n.arg("min"), None)


@from_torch("aten.clamp_max.default", "aten.clamp_max.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _between(g, n, None, n.arg("max"))


@from_torch("aten.relu6.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _between(g, n, 0, 6)


def _between(g: GraphBuilder, n: ForeignNode, low: Operand | None, high: Operand | None) -> Value:
    """In the dtype of the result; booleans as 0 and 1."""
    dtype = n.result_dtype()
    ordered = dtypes.u8 if dtype is dtypes.bool_ else dtype
    x = in_dtype(g, n.arg("self"), ordered)
    x = x if low is None else g.max(x, in_dtype(g, low, ordered))
    return g.cast_to(x if high is None else g.min(x, in_dtype(g, high, ordered)), dtype)
