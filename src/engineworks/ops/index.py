"""torch's indexing by tensors: one gather along an axis that stands for the indexed ones."""

from engineworks.core.dims import product
from engineworks.core.shapes import broadcast
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import at_least_1d
from engineworks.ops._torch_indices import indexing, joined_axes


@from_torch("aten.index.Tensor", "aten._unsafe_index.Tensor")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, given = n.arg("self"), n.arg("indices")
    if all(index is None for index in given):
        return x
    where = indexing(g, n, x, given)
    return g.gather(joined_axes(g, x, where), where.positions, axis=where.first)


@from_torch("aten.index_select.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, index = n.arg("self"), at_least_1d(g, n.arg("index"))
    picked = g.gather(at_least_1d(g, x), index, axis=n.arg("dim"))
    return g.reshape_to(picked, ()) if x.type.rank == 0 else picked


@from_torch("aten.take.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Elements of x as if it were flat."""
    x = n.arg("self")
    return g.gather(g.reshape_to(x, (product(x.type.shape),)), n.arg("index"), axis=0)


@from_torch("aten.masked_select.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """As many elements as the mask has true ones."""
    x, mask = n.arg("self"), n.arg("mask")
    shape = broadcast(x.type.shape, mask.type.shape, scope=g.graph.scope)
    x, mask = (
        g.reshape_to(v if v.type.shape == shape else g.expand(v, shape=shape), (product(shape),))
        for v in (x, mask)
    )
    where = indexing(g, n, x, [mask])
    return g.gather(x, where.positions, axis=0)
