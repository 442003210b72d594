"""torch's searchsorted and bucketize: how many boundaries lie below each number."""

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._torch import Operand, common_dtype, in_dtype


@from_torch("aten.bucketize.Tensor", "aten.bucketize.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _counted(g, n, n.arg("boundaries"), n.arg("self"), n.arg("right"))


@from_torch("aten.searchsorted.Tensor", "aten.searchsorted.Scalar")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    if n.arg("sorter") is not None:
        raise n.unsupported("a sorter; sort the sequence before")
    is_right = n.arg("right") or n.arg("side") == "right"
    return _counted(g, n, n.arg("sorted_sequence"), n.arg("self"), is_right)


def _counted(g: GraphBuilder, n: ForeignNode, edges: Value, given: Operand, is_right: bool) -> Value:
    """[..., B] edges against [..., V] numbers, or vectors of edges against any numbers. NaN is above all."""
    dtype = common_dtype(edges, given)
    edges, numbers = g.cast_to(edges, dtype), in_dtype(g, given, dtype)
    edges = g.unsqueeze(edges, (edges.type.rank - 1,)) if edges.type.rank > 1 else edges
    apart = g.unsqueeze(numbers, (numbers.type.rank,))
    below = g.less_or_equal(edges, apart) if is_right else g.less(edges, apart)
    if dtype.is_float:
        below = g.logical_or(below, g.is_nan(apart))
    count = g.reduce_sum(g.cast(below, dtype=dtypes.i64), axes=(below.type.rank - 1,), keepdims=False)
    return g.cast_to(count, n.result_dtype())
