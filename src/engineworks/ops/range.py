"""ONNX Range: start, start + delta, … below limit."""
import numpy as np

from engineworks.core.dims import ceil_div, dim_max
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


@from_onnx("Range")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    start, limit, delta = (g.reshape_to(v, ()) for v in n.inputs)
    dtype = start.type.dtype
    if all(v.constant is not None for v in (start, limit, delta)):
        first, last, step = (v.array[()] for v in (start, limit, delta))
        count = max(int(np.ceil((np.float64(last) - np.float64(first)) / np.float64(step))), 0)
        return _from(g, start, delta, g.iota(count=count, dtype=dtype))
    if all(v.known is not None for v in (start, limit, delta)) and isinstance(delta.known[()], int) and delta.known[()]:
        first, last, step = (v.known[()] for v in (start, limit, delta))
        span = last - first if step > 0 else first - last
        return _from(g, start, delta, g.iota(count=dim_max(ceil_div(span, abs(step)), 0), dtype=dtype))
    count = g.range_count(start, limit, delta, count=g.graph.scope.fresh("range", 0))
    return _from(g, start, delta, g.iota(count=count.type.shape[0], dtype=dtype))


def _from(g: GraphBuilder, start: Value, delta: Value, steps: Value) -> Value:
    """start + steps * delta."""
    scaled = steps if _is(delta, 1) else g.mul(steps, delta)
    return scaled if _is(start, 0) else g.add(scaled, start)


def _is(value: Value, number: int) -> bool:
    return value.constant is not None and bool(value.array[()] == number)
