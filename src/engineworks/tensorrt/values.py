"""Small values: dims, element types as numpy types, host memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import Unsupported
from engineworks.tensorrt.enums import DataType

_DTYPES: dict[DType, DataType] = {
    dtypes.f32: DataType.FLOAT, dtypes.f16: DataType.HALF, dtypes.i8: DataType.INT8, dtypes.i32: DataType.INT32,
    dtypes.bool_: DataType.BOOL, dtypes.u8: DataType.UINT8, dtypes.f8e4m3: DataType.FP8, dtypes.bf16: DataType.BF16,
    dtypes.i64: DataType.INT64, dtypes.i4: DataType.INT4, dtypes.f4e2m1: DataType.FP4, dtypes.f8e8m0: DataType.E8M0,
}  # fmt: skip
_NUMPY: dict[DataType, Any] = {
    DataType.FLOAT: np.float32, DataType.HALF: np.float16, DataType.INT8: np.int8, DataType.INT32: np.int32,
    DataType.BOOL: np.bool_, DataType.UINT8: np.uint8, DataType.FP8: ml_dtypes.float8_e4m3fn,
    DataType.BF16: ml_dtypes.bfloat16, DataType.INT64: np.int64, DataType.INT4: ml_dtypes.int4,
}  # fmt: skip

_ONNX: dict[DataType, int] = {
    DataType.FLOAT: 1, DataType.UINT8: 2, DataType.INT8: 3, DataType.INT32: 6, DataType.INT64: 7, DataType.BOOL: 9,
    DataType.HALF: 10, DataType.BF16: 16,
}  # fmt: skip


class Dims(tuple[int, ...]):
    """Sizes; -1 where a size is not fixed. Equal to a tuple or list of the same sizes."""

    MAX_DIMS = 8

    def __new__(cls, shape: Iterable[int] = ()) -> Dims:
        return super().__new__(cls, (int(d) for d in shape))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (tuple, list)) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()

    @property
    def nb_dims(self) -> int:
        return len(self)

    def numel(self) -> int:
        """Product of the sizes."""
        return volume(self)


class IHostMemory(bytes):
    """Bytes that a build or `serialize` gave: writable to files, readable as a buffer."""

    @property
    def nbytes(self) -> int:
        return len(self)

    @property
    def dtype(self) -> DataType:
        return DataType.INT8


def volume(iterable: Sequence[int]) -> int:
    """The product of sizes; 1 for none."""
    return math.prod(int(d) for d in iterable)


def nptype(trt_type: DataType) -> Any:
    """The numpy type of an element type. Raises TypeError when there is none."""
    try:
        return _NUMPY[DataType(trt_type)]
    except KeyError:
        raise TypeError(f"{trt_type!r} has no numpy type") from None


def data_type(name: str) -> DataType:
    """The element type with our short name. Raises Unsupported when TensorRT has no such type."""
    kind = dtypes.by_name(name)
    if kind not in _DTYPES:
        raise Unsupported(
            f"TensorRT has no name for element type {kind}; read it from engineworks.load(path).inputs"
        )
    return _DTYPES[kind]


def dtype_of(kind: DataType) -> DType:
    """Our element type of that name."""
    return next(ours for ours, theirs in _DTYPES.items() if theirs is DataType(kind))


def size_bits(kind: DataType) -> int:
    """Bits of one element in memory; a 4-bit one takes a byte here."""
    return np.dtype(nptype(kind)).itemsize * 8


def onnx_type(kind: DataType) -> int:
    """ONNX's number of an element type. Raises Unsupported when outputs cannot have it."""
    if kind not in _ONNX:
        raise Unsupported(f"outputs cannot be {kind.name}; they may be {', '.join(k.name for k in _ONNX)}")
    return _ONNX[kind]
