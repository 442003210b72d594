"""Arrays of other packages seen as numpy arrays and numpy arrays given to them, without a copy, through
DLPack.

numpy's own `from_dlpack` refuses the element types it lacks (bfloat16, float8); these are read from the
capsule here.
Source of the structs: dlpack.h 1.1, `DLManagedTensor`.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import ml_dtypes
import numpy as np

_CPU = 1
_FLOAT, _BFLOAT, _BOOL, _E4M3FN, _E5M2 = 2, 4, 6, 10, 12

_TYPES: dict[tuple[int, int], Any] = {
    (0, 8): np.int8, (0, 16): np.int16, (0, 32): np.int32, (0, 64): np.int64,
    (1, 8): np.uint8, (1, 16): np.uint16, (1, 32): np.uint32, (1, 64): np.uint64,
    (_FLOAT, 16): np.float16, (_FLOAT, 32): np.float32, (_FLOAT, 64): np.float64,
    (_BFLOAT, 16): ml_dtypes.bfloat16, (_BOOL, 8): np.bool_,
    (_E4M3FN, 8): ml_dtypes.float8_e4m3fn, (_E5M2, 8): ml_dtypes.float8_e5m2,
}  # fmt: skip


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def view(value: Any) -> np.ndarray:
    """A numpy array over the memory of an object with `__dlpack__`.

    Raises:
        TypeError: it lies on a device, or its element type has no twin here.
    """
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError):
        return _from_capsule(value.__dlpack__())


def package_of(value: Any) -> Any:
    """The module whose `from_dlpack` makes arrays of the kind of `value`; None when there is none."""
    module = sys.modules.get(type(value).__module__.partition(".")[0])
    return module if hasattr(module, "from_dlpack") else None


def give(array: np.ndarray, package: Any) -> Any:
    """`array` as an array of `package` (from `package_of`), over the same memory where DLPack has the
    element type.
    """
    try:
        return package.from_dlpack(array)
    except (BufferError, TypeError, RuntimeError):
        # numpy exports no bfloat16 or float8: pass the bits, then name their type as the other package does.
        bits = package.from_dlpack(array.view(f"u{array.dtype.itemsize}"))
        return bits.view(getattr(package, array.dtype.name))


def _from_capsule(capsule: Any) -> np.ndarray:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _Tensor.from_address(get(capsule, b"dltensor"))
    if tensor.device_type != _CPU:
        raise TypeError("it lies on another device; copy it to the CPU first")
    kind = _TYPES.get((tensor.code, tensor.bits))
    if kind is None or tensor.lanes != 1:
        raise TypeError(f"its element type (DLPack code {tensor.code}, {tensor.bits} bits) has no twin here")
    dtype = np.dtype(kind)
    shape = tuple(tensor.shape[i] for i in range(tensor.rank))
    strides = tuple(tensor.strides[i] for i in range(tensor.rank)) if tensor.strides else _row_major(shape)
    if any(step < 0 for step in strides):
        raise TypeError("its strides are negative; make it contiguous first")
    if not all(shape):
        return np.empty(shape, dtype)
    last = sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    extent = (last + 1) * dtype.itemsize
    memory = (ctypes.c_char * extent).from_address(tensor.data + tensor.byte_offset)
    # The capsule's destructor frees the tensor: it lives as long as the memory is referred to.
    # pyrefly: ignore[missing-attribute]
    memory.capsule = capsule
    # pyrefly: ignore[bad-argument-type]
    return np.ndarray(shape, dtype, memory, strides=[step * dtype.itemsize for step in strides])


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))
