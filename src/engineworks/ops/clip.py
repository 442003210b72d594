"""ONNX Clip: min(max(x, low), high), so that `high` wins where the bounds cross."""

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


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
