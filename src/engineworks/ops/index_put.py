"""torch's index_put and masked_scatter: elements replaced or added to where index tensors point."""

from engineworks.core import dtypes
from engineworks.core.dims import known_equal, product
from engineworks.core.shapes import broadcast
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch_indices import Indexing, indexing, joined_axes


@from_torch("aten.index_put.default", "aten._unsafe_index_put.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, given, values = n.arg("self"), n.arg("indices"), n.arg("values")
    masks = [v for v in given if v is not None]
    if len(masks) == 1 and given[0] is masks[0] and _is_filled(masks[0], values) and not n.arg("accumulate"):
        mask = masks[0]
        wide = g.reshape_to(mask, (*mask.type.shape, *[1] * (x.type.rank - mask.type.rank)))
        return g.where(wide, g.reshape_to(values, ()), x)
    where = indexing(g, n, x, given)
    lead, rest = where.joined[: where.first], where.joined[where.first + 1 :]
    target = (*lead, *where.positions.type.shape, *rest)
    spread = values if values.type.shape == target else g.expand(values, shape=target)
    return _put(g, x, where, spread, "add" if n.arg("accumulate") else "none")


def _is_filled(mask: Value, values: Value) -> bool:
    """One number for all places where a mask holds."""
    return mask.type.dtype is dtypes.bool_ and mask.type.rank > 0 and values.type.count == 1


def _put(g: GraphBuilder, x: Value, where: Indexing, values: Value, combine: str) -> Value:
    """The joined axis first, as a scatter wants it, and back."""
    joined = joined_axes(g, x, where)
    rank, first = joined.type.rank, where.first
    order = (first, *(a for a in range(rank) if a != first))
    rows = g.transpose(joined, perm=order) if first else joined
    inner = where.positions.type.rank
    moved = (*range(first, first + inner), *range(first), *range(first + inner, values.type.rank))
    values = g.transpose(values, perm=moved) if first else values
    count = product(where.positions.type.shape)
    values = g.reshape_to(values, (count, *rows.type.shape[1:]))
    put = g.scatter_nd(rows, g.reshape_to(where.positions, (count, 1)), values, combine=combine)
    back = g.transpose(put, perm=tuple(order.index(a) for a in range(rank))) if first else put
    whole = g.reshape_to(back, where.shape)
    inverse = tuple(where.perm.index(a) for a in range(len(where.perm)))
    return whole if inverse == where.perm == tuple(range(len(inverse))) else g.transpose(whole, perm=inverse)


@from_torch("aten.masked_scatter.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The next element of `source` wherever the mask holds."""
    x, mask, source = n.arg("self"), n.arg("mask"), n.arg("source")
    shape = broadcast(x.type.shape, mask.type.shape, scope=g.graph.scope)
    count = product(shape)
    mask, x = (v if v.type.shape == shape else g.expand(v, shape=shape) for v in (mask, x))
    if known_equal(count, 0) or known_equal(source.type.count, 0):
        return x
    number = g.sub(g.cum_sum(g.cast(g.reshape_to(mask, (count,)), dtype=dtypes.i64), axis=0), 1)
    flat = g.reshape_to(source, (product(source.type.shape),))
    last = g.sub(g.dims(flat.type.shape[0]), 1)
    taken = g.gather(flat, g.min(g.max(number, 0), last), axis=0)
    return g.where(mask, g.reshape_to(taken, shape), x)


@from_torch("aten.put.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Elements of x as if it were flat."""
    x, index, source = n.arg("self"), n.arg("index"), n.arg("source")
    if known_equal(index.type.count, 0):
        return x
    flat, count = g.reshape_to(x, (product(x.type.shape),)), product(index.type.shape)
    places, updates = g.reshape_to(index, (count, 1)), g.reshape_to(source, (count,))
    put = g.scatter_nd(flat, places, updates, combine="add" if n.arg("accumulate") else "none")
    return g.reshape_to(put, x.type.shape)
