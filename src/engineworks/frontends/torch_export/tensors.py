"""torch's dtypes and tensors as ours: weights stay where they are until somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import UnsupportedOperator

Reading = Callable[[], np.ndarray]

_NAMES: Mapping[str, DType] = {
    "float64": dtypes.f64, "float32": dtypes.f32, "float16": dtypes.f16, "bfloat16": dtypes.bf16,
    "float8_e4m3fn": dtypes.f8e4m3, "float8_e5m2": dtypes.f8e5m2, "float8_e4m3fnuz": dtypes.f8e4m3fnuz,
    "float8_e5m2fnuz": dtypes.f8e5m2fnuz, "float8_e8m0fnu": dtypes.f8e8m0,
    "int64": dtypes.i64, "int32": dtypes.i32, "int16": dtypes.i16, "int8": dtypes.i8,
    "uint64": dtypes.u64, "uint32": dtypes.u32, "uint16": dtypes.u16, "uint8": dtypes.u8, "bool": dtypes.bool_,
}  # fmt: skip


def dtype_of(dtype: Any, what: str) -> DType:
    """Our twin of a torch.dtype; `what` has it, in a message.

    Raises:
        UnsupportedOperator: there is no twin (complex numbers, quantised types).
    """
    name = str(dtype).removeprefix("torch.")
    if name not in _NAMES:
        raise UnsupportedOperator(
            f"{what} has dtype {dtype}, which Engineworks lacks; there are {', '.join(_NAMES)}. "
            f"Compute with one of these."
        )
    return _NAMES[name]


def has_twin(dtype: Any) -> bool:
    """True when a torch.dtype is one of ours."""
    return str(dtype).removeprefix("torch.") in _NAMES


def torch_dtype(dtype: DType) -> Any:
    """The torch.dtype that is ours; the opposite of `dtype_of`."""
    import torch

    return getattr(torch, next(name for name, ours in _NAMES.items() if ours is dtype))


class Weights:
    """Readers of tensors, one for each storage: tied weights are one array."""

    def __init__(self) -> None:
        self._readers: dict[tuple, Reading] = {}

    def reader(self, tensor: Any, what: str) -> Reading:
        """A function that gives the tensor as an array; memory is shared where torch's layout is numpy's."""
        dtype = dtype_of(tensor.dtype, what)
        key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tuple(tensor.stride()))
        if tensor.numel() == 0 or not tensor.data_ptr():
            return lambda: _array(tensor, dtype, what)
        return self._readers.setdefault(key, cache(lambda: _array(tensor, dtype, what)))


def _array(tensor: Any, dtype: DType, what: str) -> np.ndarray:
    import torch

    plain = tensor.detach()
    if type(plain) not in (torch.Tensor, torch.nn.Parameter):
        raise UnsupportedOperator(
            f"{what} is a {type(plain).__name__}, not a plain tensor. Unwrap such weights before the export "
            f"(torch.export flattens them when the program is exported again)."
        )
    plain = plain.resolve_conj().resolve_neg().cpu().contiguous()
    if dtype.numpy.isbuiltin == 1:
        return plain.numpy()
    bits = {1: torch.uint8, 2: torch.int16}[dtype.size_bytes]
    return plain.view(bits).numpy().view(dtype.numpy)
