"""torch's diagonal, diag_embed and unfold: other views of the elements of axes. Built from gathers."""

from engineworks.core.dims import dim_max, dim_min
from engineworks.core.shapes import normalize_axis
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import at_least_1d


@from_torch("aten.diagonal.default", "aten.diagonal_copy.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The elements at (i, i + offset) of two axes, along a new last one."""
    x, offset = n.arg("self"), n.arg("offset")
    rank = x.type.rank
    rows, columns = (normalize_axis(n.arg(name), rank) for name in ("dim1", "dim2"))
    others = [a for a in range(rank) if a not in (rows, columns)]
    x = g.transpose(x, perm=(rows, columns, *others))
    height, width, *rest = x.type.shape
    above, left = max(-offset, 0), max(offset, 0)
    count = dim_max(dim_min(height - above, width - left), 0)
    flat = g.reshape_to(x, (height * width, *rest))
    places = g.mul(g.iota(count=count), g.add(g.dims(width), 1))
    picked = g.gather(flat, g.add(places, g.add(g.mul(g.dims(width), above), left)), axis=0)
    return g.transpose(picked, perm=(*range(1, picked.type.rank), 0)) if rest else picked


@from_torch("aten.diagonal_scatter.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """x with other elements at (i, i + offset) of two axes."""
    x, source, offset = n.arg("self"), n.arg("src"), n.arg("offset")
    rank = x.type.rank
    rows, columns = (normalize_axis(n.arg(name), rank) for name in ("dim1", "dim2"))
    order = (*(a for a in range(rank) if a not in (rows, columns)), rows, columns)
    turned = g.transpose(x, perm=order)
    height, width = turned.type.shape[-2:]
    down, right = g.reshape_to(g.iota(count=height), (height, 1)), g.iota(count=width)
    place = g.add(down, min(offset, 0))
    inside = g.max(g.min(place, g.dims(source.type.shape[-1] - 1)), 0)
    spread = g.gather(
        g.cast_to(source, x.type.dtype), g.reshape_to(inside, (height,)), axis=source.type.rank - 1
    )
    is_on = g.equal(g.add(down, offset), right)
    out = g.where(is_on, g.unsqueeze(spread, (spread.type.rank,)), turned)
    return g.transpose(out, perm=tuple(order.index(a) for a in range(rank)))


@from_torch("aten.unfold.default", "aten.unfold_copy.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Windows of an axis: their numbers in its place, their elements along a new last axis."""
    x, size, step = at_least_1d(g, n.arg("self")), n.arg("size"), n.arg("step")
    axis = normalize_axis(n.arg("dimension"), x.type.rank)
    if n.arg("self").type.rank == 0:
        return x if size == 1 else g.slice(x, starts=(0,), ends=(0,), axes=(0,))
    count = (x.type.shape[axis] - size) // step + 1
    starts = g.reshape_to(g.mul(g.iota(count=count), step), (count, 1))
    windows = g.gather(x, g.add(starts, g.iota(count=size)), axis=axis)
    rank = windows.type.rank
    return g.transpose(windows, perm=(*(a for a in range(rank) if a != axis + 1), axis + 1))
