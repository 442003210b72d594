"""ONNX Gemm: alpha A' B' + beta C, with A' and B' transposed on demand and C broadcast."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


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
