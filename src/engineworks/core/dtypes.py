"""Element types: name, size, numpy twin, and which arithmetic they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np

Kind = Literal["float", "int", "uint", "bool", "string"]


@dataclass(frozen=True, slots=True)
class DType:
    """One element type.

    Attributes:
        name: our short name, also used in the textual form and in engine files.
        kind: the arithmetic it belongs to.
        bits: storage bits of one element (4 or 2 for the sub-byte types; 64 for a string handle).
        numpy: the numpy dtype that holds it; sub-byte types use one ml_dtypes element a byte.
    """

    name: str
    kind: Kind
    bits: int
    numpy: np.dtype

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple:
        """Copies and messages between processes give the one object again: dtypes are compared by identity."""
        return by_name, (self.name,)

    @property
    def size_bytes(self) -> int:
        """Bytes of one element in a buffer; sub-byte types take a whole byte until a kernel packs them."""
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")


def _make(name: str, kind: Kind, bits: int, numpy: object) -> DType:
    return DType(name, kind, bits, np.dtype(numpy))  # type: ignore[arg-type]


f64 = _make("f64", "float", 64, np.float64)
f32 = _make("f32", "float", 32, np.float32)
f16 = _make("f16", "float", 16, np.float16)
bf16 = _make("bf16", "float", 16, ml_dtypes.bfloat16)
f8e4m3 = _make("f8e4m3", "float", 8, ml_dtypes.float8_e4m3fn)
f8e5m2 = _make("f8e5m2", "float", 8, ml_dtypes.float8_e5m2)
f8e4m3fnuz = _make("f8e4m3fnuz", "float", 8, ml_dtypes.float8_e4m3fnuz)
f8e5m2fnuz = _make("f8e5m2fnuz", "float", 8, ml_dtypes.float8_e5m2fnuz)
f8e8m0 = _make("f8e8m0", "float", 8, ml_dtypes.float8_e8m0fnu)
f4e2m1 = _make("f4e2m1", "float", 4, ml_dtypes.float4_e2m1fn)
i64 = _make("i64", "int", 64, np.int64)
i32 = _make("i32", "int", 32, np.int32)
i16 = _make("i16", "int", 16, np.int16)
i8 = _make("i8", "int", 8, np.int8)
i4 = _make("i4", "int", 4, ml_dtypes.int4)
i2 = _make("i2", "int", 2, ml_dtypes.int2)
u64 = _make("u64", "uint", 64, np.uint64)
u32 = _make("u32", "uint", 32, np.uint32)
u16 = _make("u16", "uint", 16, np.uint16)
u8 = _make("u8", "uint", 8, np.uint8)
u4 = _make("u4", "uint", 4, ml_dtypes.uint4)
u2 = _make("u2", "uint", 2, ml_dtypes.uint2)
bool_ = _make("bool", "bool", 8, np.bool_)
string = _make("string", "string", 64, np.object_)

ALL: tuple[DType, ...] = (
    f64, f32, f16, bf16, f8e4m3, f8e5m2, f8e4m3fnuz, f8e5m2fnuz, f8e8m0, f4e2m1,
    i64, i32, i16, i8, i4, i2, u64, u32, u16, u8, u4, u2, bool_, string,
)  # fmt: skip
_BY_NAME = {t.name: t for t in ALL}
_BY_NUMPY = {t.numpy: t for t in ALL}


def by_name(name: str) -> DType:
    """The dtype called `name`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"no dtype is called '{name}'; there are {', '.join(_BY_NAME)}") from None


def from_numpy(dtype: object) -> DType:
    """The dtype whose numpy twin is `dtype`.

    Raises:
        ValueError: no dtype of ours has this twin.
    """
    key = np.dtype(dtype)  # type: ignore[arg-type]
    if key.kind in "US":
        return string
    try:
        return _BY_NUMPY[key]
    except KeyError:
        raise ValueError(f"numpy dtype {key} has no twin here; use one of {', '.join(_BY_NAME)}") from None
