"""ONNX MatMul and MatMulInteger: numpy's matmul, whose 1-D operands gain an axis that the result loses."""
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx


def product_of(g: GraphBuilder, a: Value, b: Value) -> Value:
    """numpy's matmul(a, b)."""
    left, right = a.type.rank == 1, b.type.rank == 1
    if left:
        a = g.reshape_to(a, (1, *a.type.shape))
    if right:
        b = g.reshape_to(b, (*b.type.shape, 1))
    product = g.matmul(a, b)
    shape: tuple[Dim, ...] = product.type.shape
    if left:
        shape = (*shape[:-2], shape[-1])
    if right:
        shape = shape[:-1]
    return g.reshape_to(product, shape)


@from_onnx("MatMul")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return product_of(g, n[0], n[1])


@from_onnx("MatMulInteger")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """8-bit operands as i32, zero points taken off: one for each row of a, for each column of b, or one for all."""
    a, b = g.cast_to(n[0], dtypes.i32), g.cast_to(n[1], dtypes.i32)
    if n[2] is not None:
        zero = g.cast_to(n[2], dtypes.i32)
        rows = zero.type.rank == 1 and a.type.rank > 1
        a = g.sub(a, g.reshape_to(zero, (*zero.type.shape, 1)) if rows else zero)
    if n[3] is not None:
        b = g.sub(b, g.cast_to(n[3], dtypes.i32))
    return product_of(g, a, b)
