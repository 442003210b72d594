"""torch's slice_scatter and select_scatter: a copy of x with another tensor in place of a slice."""

from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axis, slice_bounds
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._slices import sliced, torch_slice


@from_torch("aten.slice_scatter.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, axis, first, last, step = torch_slice(n)
    begin, count = slice_bounds(first, last, step, x.type.shape[axis])
    source = g.cast_to(n.arg("src"), x.type.dtype)
    shape = (*x.type.shape[:axis], count, *x.type.shape[axis + 1 :])
    source = source if source.type.shape == shape else g.expand(source, shape=shape)
    return _replaced(g, x, source, axis, begin, count, step)


@from_torch("aten.select_scatter.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, index = n.arg("self"), n.arg("index")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    at = index + x.type.shape[axis] if isinstance(index, int) and index < 0 else index
    source = g.unsqueeze(g.cast_to(n.arg("src"), x.type.dtype), (axis,))
    return _replaced(g, x, source, axis, at, 1, 1)


def _replaced(
    g: GraphBuilder, x: Value, source: Value, axis: int, begin: Dim, count: Dim, step: int
) -> Value:
    """Steps of 1 join three pieces; others choose element by element."""
    extent = x.type.shape[axis]
    if count == 0:
        return x
    if step == 1:
        before, after = (sliced(g, x, (a,), (b,), (axis,)) for a, b in ((0, begin), (begin + count, extent)))
        parts = [p for p in (before, source, after) if p.type.shape[axis] != 0]
        return parts[0] if len(parts) == 1 else g.concat(*parts, axis=axis)
    along = tuple(extent if a == axis else 1 for a in range(x.type.rank))
    places = g.sub(g.iota(count=extent), g.dims(begin))
    taken = g.div(places, step)
    inside = g.logical_and(g.greater_or_equal(places, 0), g.equal(g.mod(places, step), 0))
    inside = g.logical_and(inside, g.less(taken, g.dims(count)))
    spread = g.gather(source, g.max(g.min(taken, g.dims(count - 1)), 0), axis=axis)
    return g.where(g.reshape_to(inside, along), spread, x)
