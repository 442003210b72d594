"""ONNX's element type numbers, for attributes such as `dtype` and `to` (onnx.TensorProto.DataType)."""

from __future__ import annotations

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.foreign import ForeignNode

BY_NUMBER: dict[int, DType] = {
    1: dtypes.f32, 2: dtypes.u8, 3: dtypes.i8, 4: dtypes.u16, 5: dtypes.i16, 6: dtypes.i32, 7: dtypes.i64,
    8: dtypes.string, 9: dtypes.bool_, 10: dtypes.f16, 11: dtypes.f64, 12: dtypes.u32, 13: dtypes.u64,
    16: dtypes.bf16, 17: dtypes.f8e4m3, 18: dtypes.f8e4m3fnuz, 19: dtypes.f8e5m2, 20: dtypes.f8e5m2fnuz,
    21: dtypes.u4, 22: dtypes.i4, 23: dtypes.f4e2m1, 24: dtypes.f8e8m0, 25: dtypes.u2, 26: dtypes.i2,
}  # fmt: skip


def dtype_attribute(n: ForeignNode, name: str, default: DType) -> DType:
    """The dtype that attribute `name` numbers.

    Raises:
        UnsupportedOperator: a type that Engineworks lacks.
    """
    number = n.attr(name)
    if number is None:
        return default
    if number not in BY_NUMBER:
        raise n.unsupported(f"{name}={number} is an element type that Engineworks lacks")
    return BY_NUMBER[number]
