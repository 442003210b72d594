"""Arrays of other packages seen as numpy arrays and numpy arrays given to them, without a copy, through
DLPack.

numpy's own `from_dlpack` refuses the element types it lacks (bfloat16, float8); these are read from the
capsule here.
Source of the structs: dlpack.h 1.1, `DLManagedTensor`.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from engineworks.errors import InvalidInput

_CPU, CUDA, MANAGED = 1, 2, 13
"""DLDeviceType: host memory, a GPU's, and memory that both reach."""
_FLOAT, _BFLOAT, _BOOL, _E4M3FN, _E5M2 = 2, 4, 6, 10, 12

_TYPES: dict[tuple[int, int], Any] = {
    (0, 8): np.int8, (0, 16): np.int16, (0, 32): np.int32, (0, 64): np.int64,
    (1, 8): np.uint8, (1, 16): np.uint16, (1, 32): np.uint32, (1, 64): np.uint64,
    (_FLOAT, 16): np.float16, (_FLOAT, 32): np.float32, (_FLOAT, 64): np.float64,
    (_BFLOAT, 16): ml_dtypes.bfloat16, (_BOOL, 8): np.bool_,
    (_E4M3FN, 8): ml_dtypes.float8_e4m3fn, (_E5M2, 8): ml_dtypes.float8_e5m2,
}  # fmt: skip


_CODES = {np.dtype(kind): code for code, kind in _TYPES.items()}


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
    tensor = _content(capsule)
    if tensor.device_type != _CPU:
        raise TypeError("it lies on another device; copy it to the CPU first")
    dtype, shape, strides = _described(tensor)
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


def _content(capsule: Any) -> _Tensor:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return _Tensor.from_address(get(capsule, b"dltensor"))


def _described(tensor: _Tensor) -> tuple[np.dtype, tuple[int, ...], tuple[int, ...]]:
    """Element type, shape, and strides in elements. Raises TypeError: the type has no twin here."""
    kind = _TYPES.get((tensor.code, tensor.bits))
    if kind is None or tensor.lanes != 1:
        raise TypeError(f"its element type (DLPack code {tensor.code}, {tensor.bits} bits) has no twin here")
    shape = tuple(tensor.shape[i] for i in range(tensor.rank))
    strides = tuple(tensor.strides[i] for i in range(tensor.rank)) if tensor.strides else _row_major(shape)
    return np.dtype(kind), shape, strides


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Dense row-major memory that a capsule describes; it stays as long as `owner`."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    owner: Any


def device_memory(capsule: Any) -> DeviceMemory:
    """What a capsule of a GPU's array says.

    Raises:
        InvalidInput: it is not dense, or its element type has no twin here.
    """
    tensor = _content(capsule)
    try:
        dtype, shape, strides = _described(tensor)
    except TypeError as error:
        raise InvalidInput(str(error)) from None
    expected = _row_major(shape)
    if all(shape) and any(a != b for a, b, size in zip(strides, expected, shape, strict=True) if size > 1):
        raise InvalidInput(
            f"its strides {list(strides)} are not those of a dense array; make it contiguous first"
        )
    return DeviceMemory((tensor.data or 0) + tensor.byte_offset, shape, dtype, capsule)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_given: dict[int, tuple[Any, ...]] = {}
"""What keeps the memory and the description of each tensor given away, by the description's address."""


# A capsule that is being destroyed may not be referred to: it comes and goes as an address.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


@_Release
def _take_back(address: int) -> None:
    _given.pop(address, None)


@_Release
def _destroy_capsule(capsule: int) -> None:
    """Nobody took the tensor: consumers rename the capsule when they do."""
    if _is_valid(capsule, b"dltensor"):
        _given.pop(_pointer_in(capsule, b"dltensor"), None)


def capsule(address: int, shape: tuple[int, ...], dtype: np.dtype, index: int, owner: Any) -> Any:
    """A capsule of dense memory on GPU `index`; `owner` is held until the consumer is done.

    Raises:
        TypeError: DLPack has no such element type.
    """
    if dtype not in _CODES:
        raise TypeError(f"DLPack has no element type {dtype}")
    code, bits = _CODES[dtype]
    sizes = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    steps = (ctypes.c_int64 * max(1, len(shape)))(*_row_major(shape))
    managed = _Managed(
        _Tensor(
            address, CUDA, index, len(shape), code, bits, 1,
            ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64)), 0,
        ),
        None,
        ctypes.cast(_take_back, ctypes.c_void_p),
    )  # fmt: skip
    where = ctypes.addressof(managed)
    _given[where] = (managed, sizes, steps, owner)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(where, b"dltensor", ctypes.cast(_destroy_capsule, ctypes.c_void_p))


def is_torch(value: Any) -> bool:
    """True for torch's tensors, found without importing it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


@functools.cache
def torch_dtype(dtype: Any) -> np.dtype:
    """The numpy twin of torch's element type. Raises InvalidInput: there is none."""
    name = str(dtype).removeprefix("torch.")
    found = next((d for d in _CODES if d.name == name), None)
    if found is None:
        raise InvalidInput(f"torch's element type {name} has no twin here")
    return found


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))
