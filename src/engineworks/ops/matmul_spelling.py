"""ONNX MatMul and its integer forms, torch's products: numpy's matmul. Axes that 1-D operands gain the result loses."""

from collections.abc import Callable

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch
from engineworks.ops._integer_products import integer_matmul

Multiply = Callable[[Value, Value], Value]


def product_of(g: GraphBuilder, a: Value, b: Value, multiply: Multiply | None = None) -> Value:
    """numpy's matmul(a, b); `multiply` is the product of two operands that have two axes or more."""
    left, right = a.type.rank == 1, b.type.rank == 1
    if left:
        a = g.reshape_to(a, (1, *a.type.shape))
    if right:
        b = g.reshape_to(b, (*b.type.shape, 1))
    product = (multiply or g.matmul)(a, b)
    shape: tuple[Dim, ...] = product.type.shape
    if left:
        shape = (*shape[:-2], shape[-1])
    if right:
        shape = shape[:-1]
    return g.reshape_to(product, shape)


@from_onnx("MatMul")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return product_of(g, n[0], n[1])


def integer_product(g: GraphBuilder, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None) -> Value:
    """The exact i32 product, zero points taken off: one for each row of a, for each column of b, or one for all."""
    rows = None if a_zero is None else _by_rows(g, a_zero, a)
    return product_of(g, a, b, lambda left, right: integer_matmul(g, left, rows, right, b_zero))


def _by_rows(g: GraphBuilder, vector: Value, a: Value) -> Value:
    """A vector with an element for each row of a, so that it broadcasts to a."""
    rows = vector.type.rank == 1 and a.type.rank > 1
    return g.reshape_to(vector, (*vector.type.shape, 1)) if rows else vector


@from_onnx("MatMulInteger")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return integer_product(g, n[0], n[2], n[1], n[3])


@from_onnx("QLinearMatMul")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The exact integer product, times both scales, quantised anew."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = n.inputs
    assert a is not None and a_scale is not None and b is not None and b_scale is not None
    assert y_scale is not None and y_zero is not None
    total = g.cast(integer_product(g, a, a_zero, b, b_zero), dtype=dtypes.f32)
    scales = g.mul(_by_rows(g, g.cast_to(a_scale, dtypes.f32), total), g.cast_to(b_scale, dtypes.f32))
    rows_first = max(total.type.rank - 2, 0)
    return g.quantize_linear(g.mul(total, scales), y_scale, y_zero, dtype=y_zero.type.dtype, axis=rows_first)


@from_torch(
    "aten.mm.default", "aten.bmm.default", "aten.matmul.default", "aten.mv.default", "aten.dot.default"
)
@from_torch("aten.vdot.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return product_of(g, n[0], n[1])


@from_torch("aten._int_mm.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The exact product of bytes; torchao's dynamic quantisation multiplies so."""
    return integer_product(g, n[0], None, n[1], None)
