"""start, start + delta, … below limit."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, dim_max, symbol
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, i64, op

MOST_AT_RUN_TIME = 1 << 20
"""Elements of a range whose limits are known at run time only: memory for so many is set aside."""


@op("range")
class Range(Op):
    """start + i * delta for i < ceil((limit - start) / delta); the three inputs are scalars known at run time.

    `count` is the symbol for how many there are. Kernels set it to -1, which is no size, where its upper bound is
    too low.
    """

    count: Dim
    defines = ("count",)

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        start, limit, delta = inputs
        assert start is not None and limit is not None and delta is not None
        if any(t.rank or t.dtype is not start.dtype for t in (start, limit, delta)):
            raise InvalidModel(f"needs three scalars of one dtype; got {start}, {limit}, {delta}")
        return (TensorType(start.dtype, (self.count,)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        start, limit, delta = (np.asarray(a) for a in inputs)
        wide = np.int64 if start.dtype.kind in "iu" else np.float64
        first, last, step = start.astype(wide), limit.astype(wide), delta.astype(wide)
        count = max(-int((first - last) // step), 0)
        return (first + step * np.arange(count).astype(wide)).astype(start.dtype)

    examples = (
        example(i64(values=2), i64(values=11), i64(values=3), count=symbol("count", 0)),
        example(f32(values=1.0), f32(values=-2.0), f32(values=-0.5), count=symbol("count", 0)),
        example(i64(values=5), i64(values=2), i64(values=1), count=symbol("count", 0)),
    )


@from_onnx("Range")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    start, limit, delta = (g.reshape_to(v, ()) for v in n.given())
    dtype = start.type.dtype
    if all(v.constant is not None for v in (start, limit, delta)):
        return g.constant(Range(0).reference(start.array, limit.array, delta.array))
    first, last, step = (None if v.known is None else v.known.item() for v in (start, limit, delta))
    if first is not None and last is not None and isinstance(step, int) and step != 0:
        span = last - first if step > 0 else first - last
        return _from(g, start, delta, g.iota(count=dim_max(ceil_div(span, abs(step)), 0), dtype=dtype))
    if dtype in (dtypes.f16, dtypes.bf16):
        wide = (g.cast_to(v, dtypes.f32) for v in (start, limit, delta))
        return g.cast_to(g.range(*wide, count=g.graph.scope.fresh("range", 0, MOST_AT_RUN_TIME)), dtype)
    return g.range(start, limit, delta, count=g.graph.scope.fresh("range", 0, MOST_AT_RUN_TIME))


def _from(g: GraphBuilder, start: Value, delta: Value, steps: Value) -> Value:
    """start + steps * delta."""
    scaled = steps if _is(delta, 1) else g.mul(steps, delta)
    return scaled if _is(start, 0) else g.add(scaled, start)


def _is(value: Value, number: int) -> bool:
    return value.known is not None and bool(value.known.item() == number)
