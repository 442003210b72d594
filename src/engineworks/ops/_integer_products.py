"""Products of 8-bit integers less their zero points, as integer anchors: exact sums in i32.

Σ (x - zx)(w - zw): zero points of constants are taken off at build, where the differences fit 8 bits in one or two
parts; that of x becomes a correction, -zx Σ w, and fills the padding, which stands for zeros.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Value
from engineworks.ops._windows import place_all


def integer_conv(
    g: GraphBuilder,
    op: Any,
    x: Value,
    x_zero: Value | None,
    w: Value,
    w_zero: Value | None,
    bias: Value | None,
) -> Value:
    """conv(x - x_zero, w - w_zero) + bias as i32.

    Args:
        op: a `conv` with the windows.
        x_zero: one number. w_zero: one number or one for each filter.
    """
    if not w.is_constant and w_zero is not None and not is_zero(w_zero):
        # Σ (x - zx) of each window is its convolution with ones.
        ones = g.constant(np.ones(tuple(int(d) for d in w.type.shape), np.uint8))  # type: ignore[arg-type]
        windows = integer_conv(g, op, x, x_zero, ones, None, None)
        zero = g.cast_to(w_zero, dtypes.i32)
        column = () if w_zero.type.count == 1 else (*w_zero.type.shape, *(1,) * (w.type.rank - 2))
        shift = g.mul(windows, g.reshape_to(zero, column))
        return g.sub(integer_conv(g, op, x, x_zero, w, None, bias), shift)
    op = dataclasses.replace(op, out_dtype=dtypes.i32)
    first, *others = _parts(g, w, w_zero, 0)
    if is_zero(x_zero):
        x_zero = None
    if x_zero is not None:
        x, op = _padded(g, op, x, x_zero, w.type)
        sums = _sums(g, [first, *others], tuple(range(1, w.type.rank)))
        shift = _times(g, x_zero, sums, -1)
        bias = shift if bias is None else added(g, bias, shift)
    if bias is None or bias.is_constant:
        total = g.add_node(op, [x, first, bias])[0]
    else:
        column = g.reshape_to(bias, (*bias.type.shape, *(1,) * (w.type.rank - 2)))
        total = g.add(g.add_node(op, [x, first])[0], column)
    for other in others:
        total = g.add(total, g.add_node(op, [x, other])[0])
    return total


def integer_matmul(g: GraphBuilder, a: Value, a_zero: Value | None, b: Value, b_zero: Value | None) -> Value:
    """(a - a_zero) @ (b - b_zero) as i32, for operands of two axes or more.

    Args:
        a_zero: one number, or [M, 1] with one for each row; b_zero: one number, or [N] with one for each column.
    """
    if is_zero(a_zero):
        a_zero = None
    if is_zero(b_zero):
        b_zero = None
    parts = [b] if b_zero is not None and not b.is_constant else _parts(g, b, b_zero, b.type.rank - 1)
    total = g.matmul(a, parts[0], out_dtype=dtypes.i32)
    for other in parts[1:]:
        total = g.add(total, g.matmul(a, other, out_dtype=dtypes.i32))
    if a_zero is not None:
        total = g.add(total, _times(g, a_zero, _sums(g, parts, (-2,)), -1))
    if b_zero is not None and not b.is_constant:
        centred = g.cast(a, dtype=dtypes.i32)
        if a_zero is not None:
            centred = g.sub(centred, g.cast_to(a_zero, dtypes.i32))
        rows = g.reduce_sum(centred, axes=(a.type.rank - 1,), keepdims=True)
        total = g.sub(total, g.mul(rows, g.cast_to(b_zero, dtypes.i32)))
    return total


def is_zero(zero: Value | None) -> bool:
    """No zero point, or a constant of zeros."""
    return zero is None or (zero.is_constant and not zero.array.any())


def added(g: GraphBuilder, a: Value, b: Value) -> Value:
    """a + b, at once where both are constant."""
    if a.is_constant and b.is_constant:
        return g.constant(a.array + b.array, a.type.dtype)
    return g.add(a, b)


def _parts(g: GraphBuilder, w: Value, zero: Value | None, axis: int) -> list[Value]:
    """8-bit tensors whose sum is w - zero: one where the differences fit i8 or u8, else two."""
    if is_zero(zero):
        return [w]
    assert w.is_constant and zero is not None and zero.is_constant, "zero points of filters are constants"
    line = [1] * w.type.rank
    line[axis] = -1
    difference = w.array.astype(np.int16) - zero.array.astype(np.int16).reshape(line)
    low = np.clip(difference, -128, 127)
    if (low == difference).all():
        return [g.constant(low, dtypes.i8)]
    if difference.min() >= 0 and difference.max() <= 255:
        return [g.constant(difference, dtypes.u8)]
    return [g.constant(low, dtypes.i8), g.constant(difference - low, dtypes.i8)]


def _sums(g: GraphBuilder, parts: list[Value], axes: tuple[int, ...]) -> Value:
    """Σ over `axes` of the sum of the parts, i32: without the axes of a constant, otherwise with them."""
    if all(p.is_constant for p in parts):
        return g.constant(sum(p.array.astype(np.int32).sum(axis=axes) for p in parts), dtypes.i32)
    (whole,) = parts
    gone = tuple(a % whole.type.rank for a in axes)
    keeps = len(axes) == 1
    return g.reduce_sum(g.cast(whole, dtype=dtypes.i32), axes=gone, keepdims=keeps)


def _times(g: GraphBuilder, zero: Value, sums: Value, sign: int) -> Value:
    """sign * zero * sums, at once where both are constant."""
    if zero.is_constant and sums.is_constant:
        return g.constant(sign * zero.array.astype(np.int32) * sums.array, dtypes.i32)
    signed = g.constant(sign * sums.array, dtypes.i32) if sums.is_constant else g.mul(sums, sign)
    return g.mul(g.cast_to(zero, dtypes.i32), signed)


def _padded(g: GraphBuilder, op: Any, x: Value, zero: Value, w: TensorType) -> tuple[Value, Any]:
    """x with its own zero point around it, and the convolution that pads no more."""
    placed = place_all(op, x.type.shape[2:], [int(d) for d in w.shape[2:]])  # type: ignore[arg-type]
    before, after = (0, 0, *(p.pad_before for p in placed)), (0, 0, *(p.pad_after for p in placed))
    plain = dataclasses.replace(op, pads=(), auto_pad="NOTSET")
    if not any(isinstance(d, int) is False or d != 0 for d in (*before, *after)):
        return x, plain
    return g.pad(x, g.reshape_to(zero, ()), before=before, after=after), plain
