"""ONNX Flatten (two axes, split at `axis`), torch's flatten and unflatten. Built as reshapes."""

from engineworks.core.dims import product
from engineworks.core.shapes import normalize_axis, solve_reshape
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._torch import at_least_1d


@from_onnx("Flatten")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    axis, rank = n.attr("axis", 1), n[0].type.rank
    return g.flatten_at(n[0], rank if axis == rank else normalize_axis(axis, max(rank, 1)))


@from_torch("aten.flatten.using_ints")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = at_least_1d(g, n.arg("self"))
    first, last = (normalize_axis(n.arg(name), x.type.rank) for name in ("start_dim", "end_dim"))
    shape = x.type.shape
    return g.reshape_to(x, (*shape[:first], product(shape[first : last + 1]), *shape[last + 1 :]))


@from_torch("aten.unflatten.int")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, sizes = n.arg("self"), n.arg("sizes")
    axis = normalize_axis(n.arg("dim"), x.type.rank)
    apart = solve_reshape((x.type.shape[axis],), sizes, allow_zero=True, scope=g.graph.scope)
    return g.reshape_to(x, (*x.type.shape[:axis], *apart, *x.type.shape[axis + 1 :]))
