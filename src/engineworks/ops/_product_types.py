"""Which dtypes products take and give: equal ones, 8-bit integers summed in i32, floats of different widths in f32."""

from __future__ import annotations

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import InvalidModel


def product_dtype(a: DType, b: DType, out: DType | None) -> DType:
    """The dtype of Σ a b, where an op's `out_dtype` is `out` (None: that of both operands).

    Raises:
        InvalidModel: no product of these operands gives that.
    """
    if is_byte(a) and is_byte(b) and out is dtypes.i32:
        return out
    narrow = all(d.is_float and d.bits in (16, 32) for d in (a, b))
    if narrow and out is dtypes.f32:
        return out
    if a is not b:
        raise InvalidModel(
            f"operands of different dtypes {a} and {b}; cast first, or give out_dtype: f32 for floats of 16 and 32 "
            f"bits, i32 for integers of 8 bits"
        )
    if out is not None and out is not a:
        raise InvalidModel(
            f"out_dtype {out} for operands of {a}: 8-bit integers give i32, f16 and bf16 give f32"
        )
    return a


def matmul_dtype(a: DType, b: DType, out: DType | None) -> DType:
    """As `product_dtype`; also f32 for f32 by 8-bit integers, in either order: weights alone are quantised there.

    Raises:
        InvalidModel: no product of these operands gives that.
    """
    weighted = (a is dtypes.f32 and is_byte(b)) or (b is dtypes.f32 and is_byte(a))
    return dtypes.f32 if weighted and out is dtypes.f32 else product_dtype(a, b, out)


def sum_dtype(a: DType, b: DType, out: DType) -> DType:
    """In which the terms are multiplied and summed: f32 for narrow floats, the result's dtype otherwise."""
    return dtypes.f32 if a.is_float and b.is_float and out.bits < 32 else out


def is_byte(dtype: DType) -> bool:
    """i8 or u8."""
    return dtype.is_integer and dtype.bits == 8
