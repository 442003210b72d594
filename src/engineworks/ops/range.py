"""start, start + delta, … below limit."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div, dim_max, symbol
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ops._torch import in_dtype

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


@from_torch("aten.arange.default", "aten.arange.start", "aten.arange.start_step")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The numbers are ints, floats or sizes; `result_shape` counts what floats round to."""
    given = n.foreign.attributes
    start = n.arg("start") if "start" in given else 0
    step = n.arg("step") if "step" in given else 1
    dtype = n.result_dtype()
    if isinstance(step, int) and not any(isinstance(v, float) for v in (start, n.arg("end"))):
        span = n.arg("end") - start if step > 0 else start - n.arg("end")
        count = dim_max(ceil_div(span, abs(step)), 0)
        wide = dtype if dtype in (dtypes.i64, dtypes.f64) else dtypes.i64
    else:
        (count,), wide = n.result_shape(), dtypes.f64 if dtype.is_float else dtypes.i64
    first, delta = in_dtype(g, start, wide), in_dtype(g, step, wide)
    return g.cast_to(_from(g, first, delta, g.iota(count=count, dtype=wide)), dtype)


@from_torch("aten.linspace.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """From both ends toward the middle, as torch rounds."""
    start, end, steps, dtype = n.arg("start"), n.arg("end"), n.arg("steps"), n.result_dtype()
    # Of integers the ends are whole before anything is divided.
    ends = dtypes.f64 if dtype.is_float else dtype
    first, last = (g.cast_to(in_dtype(g, x, ends), dtypes.f64) for x in (start, end))
    if steps == 1:
        return g.reshape_to(g.cast_to(first, dtype), (1,))
    delta = g.div(g.sub(last, first), in_dtype(g, steps - 1, dtypes.f64))
    place = g.iota(count=steps, dtype=dtypes.f64)
    left = g.less(place, in_dtype(g, steps // 2, dtypes.f64))
    back = g.sub(in_dtype(g, steps - 1, dtypes.f64), place)
    line = g.where(left, g.add(first, g.mul(delta, place)), g.sub(last, g.mul(delta, back)))
    return g.cast_to(line, dtype)
