"""torch's norms of vectors: the p-th root of the sum of p-th powers."""

import math

import numpy as np

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch
from engineworks.ops._moments import widened
from engineworks.ops._torch import operands_of
from engineworks.ops._torch_reductions import axes_of_torch, keeps_axes, reduced_torch


@from_torch("aten.linalg_vector_norm.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _norm(g, n, n.arg("ord"))


@from_torch(
    "aten.norm.Scalar",
    "aten.norm.ScalarOpt_dim",
    "aten.norm.ScalarOpt_dtype",
    "aten.norm.ScalarOpt_dim_dtype",
)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _norm(g, n, 2 if n.arg("p") is None else n.arg("p"))


def _norm(g: GraphBuilder, n: ForeignNode, p: float) -> Value:
    """f16 and bf16 are computed in f32 and rounded once."""
    wide = widened(g, g.cast_to(n.arg("self"), n.result_dtype()))
    axes, keepdims = axes_of_torch(n, wide), keeps_axes(n)
    return g.cast_to(_norm_over(g, g.abs(wide), axes, keepdims, float(p)), n.result_dtype())


def _norm_over(g: GraphBuilder, x: Value, axes: tuple[int, ...], keepdims: bool, p: float) -> Value:
    """Of x that is nowhere below 0."""
    extremes = {math.inf: "reduce_max", -math.inf: "reduce_min"}
    if p in extremes:
        return reduced_torch(g, extremes[p], x, axes, keepdims)
    if p == 0:
        counted = g.cast(g.cast(x, dtype=dtypes.bool_), dtype=x.type.dtype)
        return reduced_torch(g, "reduce_sum", counted, axes, keepdims)
    if p == 1:
        return reduced_torch(g, "reduce_sum", x, axes, keepdims)
    if p == 2:
        return g.sqrt(reduced_torch(g, "reduce_sum", g.mul(x, x), axes, keepdims))
    return g.pow(reduced_torch(g, "reduce_sum", g.pow(x, p), axes, keepdims), 1 / p)


@from_torch("aten.dist.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    a, b = (widened(g, x) for x in operands_of(g, n, "self", "other"))
    return g.cast_to(_norm_over(g, g.abs(g.sub(a, b)), (), False, float(n.arg("p"))), n.result_dtype())


@from_torch("aten._cdist_forward.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The norm of the difference of each row of x1 [..., P, M] and each of x2 [..., R, M]."""
    a, b = n.arg("x1"), n.arg("x2")
    low = g.sub(g.unsqueeze(a, (a.type.rank - 1,)), g.unsqueeze(b, (b.type.rank - 2,)))
    return _norm_over(g, g.abs(low), (low.type.rank - 1,), False, float(n.arg("p")))


@from_torch("aten._pdist_forward.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The norm of the difference of each pair of rows."""
    x = n.arg("self")
    rows = x.type.shape[0]
    if not isinstance(rows, int):
        raise n.unsupported(f"pairs of {rows} rows, a number that is not known when the engine is built")
    first, second = np.triu_indices(rows, 1)
    low = g.sub(*(g.gather(x, g.constant(picked), axis=0) for picked in (first, second)))
    return _norm_over(g, g.abs(low), (1,), False, float(n.arg("p")))
