"""ONNX Gemm, torch's addmm and linear: alpha A' B' + beta C, with A' and B' transposed on demand and C broadcast."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._torch import scaled


@from_onnx("Gemm")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    a, b, c = n[0], n[1], n[2]
    if n.attr("transA", 0):
        a = g.transpose(a, perm=(1, 0))
    if n.attr("transB", 0):
        b = g.transpose(b, perm=(1, 0))
    product = _scaled(g, n, g.matmul(a, b), "alpha")
    if c is None:
        return product
    return g.add(product, _scaled(g, n, c, "beta"))


def _scaled(g: GraphBuilder, n: ForeignNode, x: Value, name: str) -> Value:
    factor = n.attr(name, 1.0)
    if factor == 1:
        return x
    if x.type.dtype.is_integer and factor != np.trunc(factor):
        raise n.unsupported(f"{name}={factor} on {x.type.dtype} operands")
    return g.mul(x, factor)


@from_torch("aten.addmm.default", "aten.baddbmm.default", "aten.addmv.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """beta self + alpha (a b); with beta 0 self counts for nothing, even where it is NaN."""
    c, a, b = (n.arg(name) for name in n.foreign.tensors)
    return _summed(g, n, g.matmul(a, g.unsqueeze(b, (1,)) if b.type.rank == 1 else b), c)


@from_torch("aten.addbmm.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    product = g.reduce_sum(g.matmul(n.arg("batch1"), n.arg("batch2")), axes=(0,), keepdims=False)
    return _summed(g, n, product, n.arg("self"))


def _summed(g: GraphBuilder, n: ForeignNode, product: Value, c: Value) -> Value:
    product = scaled(g, g.reshape_to(product, n.result_shape()), n.arg("alpha"))
    return product if n.arg("beta") == 0 else g.add(product, scaled(g, c, n.arg("beta")))


@from_torch("aten.linear.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """input weightᵀ + bias, weight [outputs, inputs], or a vector."""
    x, weight, bias = n.arg("input"), n.arg("weight"), n.arg("bias")
    if weight.type.rank == 1:
        weight = g.unsqueeze(weight, (0,))
    rows = at_least_2d(g, x)
    product = g.reshape_to(g.matmul(rows, g.transpose(weight, perm=(1, 0))), n.result_shape())
    return product if bias is None else g.add(product, bias)


def at_least_2d(g: GraphBuilder, x: Value) -> Value:
    """x, a vector as a matrix of one row."""
    return g.unsqueeze(x, (0,)) if x.type.rank == 1 else x
