"""torch's embedding_bag: sums, means or maxima of bags of embeddings, which offsets delimit."""

import math

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch

SUM, MEAN, MAX = range(3)


@from_torch("aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """Bag b holds the indices from offset b up to the next one; the padding index counts for nothing."""
    if any(n.output_names[1:]):
        raise n.unsupported("outputs beyond the first, which only training wants")
    weight, indices, given = n.arg("weight"), n.arg("indices"), n.arg("per_sample_weights")
    offsets = g.cast_to(n.arg("offsets"), dtypes.i64)
    if n.arg("include_last_offset"):
        offsets = g.slice(offsets, starts=(0,), ends=(-1,), axes=(0,))
    bags, count, padding = offsets.type.shape[0], indices.type.shape[0], n.arg("padding_idx")
    place = g.iota(count=count)
    started = g.cast(g.less_or_equal(g.unsqueeze(offsets, (1,)), place), dtype=dtypes.i64)
    bag = g.sub(g.reduce_sum(started, axes=(0,), keepdims=False), 1)
    member = g.equal(g.reshape_to(g.iota(count=bags), (bags, 1)), bag)
    if padding >= 0:
        member = g.logical_and(member, g.logical_not(g.equal(g.cast_to(indices, dtypes.i64), padding)))
    rows = g.gather(weight, indices, axis=0)
    return _combined(g, n, member, rows, given), *[None] * (n.output_count - 1)


def _combined(g: GraphBuilder, n: ForeignNode, member: Value, rows: Value, given: Value | None) -> Value:
    """[bags, width] from whether an index belongs to a bag [bags, count], and the rows [count, width]."""
    dtype, mode = rows.type.dtype, n.arg("mode")
    if mode == MAX:
        inside = g.unsqueeze(member, (2,))
        lowest = g.constant(-math.inf, dtype)
        highest = g.reduce_max(g.where(inside, rows, lowest), axes=(1,), keepdims=False)
        is_empty = g.logical_not(g.reduce_any(member, axes=(1,), keepdims=True))
        return g.where(is_empty, g.constant(0, dtype), highest)
    share = g.cast(member, dtype=dtype)
    total = g.matmul(share if given is None else g.mul(share, given), rows)
    if mode == SUM:
        return total
    return g.div(total, g.max(g.reduce_sum(share, axes=(1,), keepdims=True), 1.0))
