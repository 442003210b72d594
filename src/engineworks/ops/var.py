"""torch's variances and standard deviations, with the mean where it is asked for."""

from engineworks.core.dims import product
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._moments import centered, widened
from engineworks.ops._torch import at_least_1d, in_dtype
from engineworks.ops._torch_reductions import axes_of_torch, keeps_axes


@from_torch("aten.var.correction", "aten.var.dim", "aten.var.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _moments(g, n)[1]


@from_torch("aten.std.correction", "aten.std.dim", "aten.std.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _moments(g, n, root=True)[1]


@from_torch("aten.var_mean.correction", "aten.var_mean.dim", "aten.var_mean.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    mean, variance = _moments(g, n)
    return variance, mean


@from_torch("aten.std_mean.correction", "aten.std_mean.dim", "aten.std_mean.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    mean, deviation = _moments(g, n, root=True)
    return deviation, mean


def _moments(g: GraphBuilder, n: ForeignNode, *, root: bool = False) -> tuple[Value, Value]:
    """(mean, Σ (x - mean)² / (count - correction)), or the root of the latter; the correction is 1 unless told."""
    x = at_least_1d(g, n.arg("self"))
    axes = axes_of_torch(n, x) or tuple(range(x.type.rank))
    wide, count = widened(g, x), product(x.type.shape[a] for a in axes)
    mean, low, _ = centered(g, wide, axes)
    total = g.reduce_sum(g.mul(low, low), axes=axes, keepdims=True)
    left = g.max(g.sub(in_dtype(g, count, wide.type.dtype), float(_correction(n))), 0.0)
    variance = g.div(total, left)
    made = [mean, g.sqrt(variance) if root else variance]
    shape = tuple(d for a, d in enumerate(x.type.shape) if a not in axes)
    shape = mean.type.shape if n.arg("self").type.rank and keeps_axes(n) else shape
    narrow = [g.cast_to(g.reshape_to(v, shape), x.type.dtype) for v in made]
    return narrow[0], narrow[1]


def _correction(n: ForeignNode) -> float:
    if "correction" in n.foreign.attributes:
        return 1 if n.arg("correction") is None else n.arg("correction")
    return int(n.arg("unbiased"))
