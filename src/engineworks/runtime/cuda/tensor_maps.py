"""Descriptors for the GPU's tensor copies (CUtensorMap), from the facts in an engine."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from engineworks.core import dtypes
from engineworks.errors import DeviceError
from engineworks.runtime.cuda.interface import TensorMapWord

_TYPES = {
    "u8": "UINT8", "i8": "UINT8", "bool": "UINT8", "f8e4m3": "UINT8", "f8e5m2": "UINT8",
    "u16": "UINT16", "i16": "UINT16", "u32": "UINT32", "i32": "INT32", "u64": "UINT64", "i64": "INT64",
    "f16": "FLOAT16", "bf16": "BFLOAT16", "f32": "FLOAT32", "f64": "FLOAT64",
}  # fmt: skip
_SWIZZLED_BYTES = {0: 0, 1: 32, 2: 64, 3: 128}
"""Bytes of a row of the box, by CUtensorMapSwizzle."""
_MOST = 256
"""Elements of a box along one axis."""


def box_of(word: TensorMapWord, swizzle: int) -> tuple[int, ...]:
    """Elements that one copy moves: a kernel's block, cut to what the hardware takes.

    As Triton cuts it: no axis beyond 256, the last one as long as the swizzle pattern. A block that is larger takes
    several copies.
    """
    box = [min(n, _MOST) for n in word.box]
    width = _SWIZZLED_BYTES[swizzle] // dtypes.by_name(word.dtype).size_bytes
    if width:
        box[-1] = min(box[-1], width)
    return tuple(box)


def encode(api: Any, word: TensorMapWord, swizzle: int) -> Sequence[int]:
    """The 16 u64 words of a descriptor.

    Args:
        api: `cuda.bindings.driver`.
    Raises:
        DeviceError: the hardware has no such map (an address or stride that is no multiple of 16 bytes).
    """
    itemsize = dtypes.by_name(word.dtype).size_bytes
    box = box_of(word, swizzle)
    # The driver lists axes innermost first, and leaves out the innermost stride.
    error, made = api.cuTensorMapEncodeTiled(
        getattr(api.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{_TYPES[word.dtype]}"),
        len(word.sizes),
        word.address,
        [api.cuuint64_t(n) for n in reversed(word.sizes)],
        [api.cuuint64_t(n * itemsize) for n in reversed(word.strides[:-1])],
        [api.cuuint32_t(n) for n in reversed(box)],
        [api.cuuint32_t(1)] * len(box),
        api.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        api.CUtensorMapSwizzle(swizzle),
        api.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
        api.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )
    if error != 0:
        raise DeviceError(
            f"the driver makes no tensor map ({error.name}) of {word.dtype}{list(word.sizes)} with strides "
            f"{list(word.strides)} at address {word.address:#x}, box {list(box)}, swizzle {swizzle}.\n"
            f"  Addresses and strides must be multiples of 16 bytes; please report this engine."
        )
    return (ctypes.c_uint64 * 16).from_address(made.getPtr())[:]
