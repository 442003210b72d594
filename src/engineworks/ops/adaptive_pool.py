"""torch's adaptive pools: as many windows as asked, from floor(i size / count) to ceil((i + 1) size / count)."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import Dim, product
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._moments import widened
from engineworks.ops._reductions import reduce_wide
from engineworks.ops._slices import sliced
from engineworks.ops._windows import over_batch


@from_torch("aten._adaptive_avg_pool2d.default", "aten._adaptive_avg_pool3d.default")
@from_torch(
    "aten.adaptive_avg_pool1d.default", "aten.adaptive_avg_pool2d.default", "aten.adaptive_avg_pool3d.default"
)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, counts = n.arg("self"), n.arg("output_size")
    first = x.type.rank - len(counts)
    if all(c == 1 for c in counts):
        return reduce_wide(g, "reduce_mean", x, tuple(range(first, x.type.rank)), True)
    whole = _whole_windows(x.type.shape[first:], counts)
    if whole is not None:
        return over_batch(g, n, x, len(counts), lambda v: g.average_pool(v, kernel=whole, strides=whole))
    wide = widened(g, x)
    for axis, count in enumerate(counts, first):
        wide = _averaged(g, n, wide, axis, count)
    return g.cast_to(wide, x.type.dtype)


@from_torch(
    "aten.adaptive_max_pool1d.default", "aten.adaptive_max_pool2d.default", "aten.adaptive_max_pool3d.default"
)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
    """Positions too, where all windows are of one size."""
    x, counts = n.arg("self"), n.arg("output_size")
    first = x.type.rank - len(counts)
    whole = _whole_windows(x.type.shape[first:], counts)
    if whole is not None:
        batched = x if first == 2 else g.unsqueeze(x, (0,))
        values, places = g.max_pool(batched, kernel=whole, strides=whole, indices=True)
        made = (values, g.mod(places, g.dims(product(x.type.shape[first:]))))
        return made if batched is x else tuple(g.squeeze(v, (0,)) for v in made)
    if n.output_names[1]:
        raise n.unsupported(
            "positions of maxima in windows of different sizes; use sizes that the counts divide"
        )
    for axis, count in enumerate(counts, first):
        windows = _windows(n, x.type.shape[axis], count)
        parts = [
            g.reduce_max(sliced(g, x, (begin,), (end,), (axis,)), axes=(axis,), keepdims=True)
            for begin, end in windows
        ]
        x = parts[0] if len(parts) == 1 else g.concat(*parts, axis=axis)
    return x, None


def _whole_windows(sizes: Sequence[Dim], counts: Sequence[Dim]) -> tuple[int, ...] | None:
    """The size of the windows on each axis, where the counts divide the sizes."""
    pairs = list(zip(sizes, counts, strict=True))
    if not all(isinstance(s, int) and isinstance(c, int) and c and s and s % c == 0 for s, c in pairs):
        return None
    return tuple(int(s) // int(c) for s, c in pairs)  # type: ignore[call-overload]


def _windows(n: ForeignNode, size: Dim, count: Dim) -> list[tuple[int, int]]:
    """Begin and end of each window along one axis."""
    if not isinstance(size, int) or not isinstance(count, int):
        raise n.unsupported(f"{count} windows on a size {size} that is not known when the engine is built")
    return [(k * size // count, -(-(k + 1) * size // count)) for k in range(count)]


def _averaged(g: GraphBuilder, n: ForeignNode, x: Value, axis: int, count: Dim) -> Value:
    """Means along one axis, as a product with a matrix of weights."""
    windows, size = _windows(n, x.type.shape[axis], count), x.type.shape[axis]
    weights = np.zeros((size, len(windows)))  # type: ignore[arg-type]
    for k, (begin, end) in enumerate(windows):
        weights[begin:end, k] = 1 / (end - begin)
    order = (*(a for a in range(x.type.rank) if a != axis), axis)
    back = tuple(order.index(a) for a in range(x.type.rank))
    rows = g.transpose(x, perm=order)
    return g.transpose(g.matmul(rows, g.constant(weights, x.type.dtype)), perm=back)
