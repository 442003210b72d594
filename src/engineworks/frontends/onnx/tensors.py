"""ONNX tensors as numpy arrays: raw views, typed fields, sparse ones, and data in files beside the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import InvalidModel, UnsupportedOperator

_BY_ONNX_NAME: dict[str, DType] = {
    "FLOAT": dtypes.f32, "DOUBLE": dtypes.f64, "FLOAT16": dtypes.f16, "BFLOAT16": dtypes.bf16,
    "FLOAT8E4M3FN": dtypes.f8e4m3, "FLOAT8E5M2": dtypes.f8e5m2,
    "FLOAT8E4M3FNUZ": dtypes.f8e4m3fnuz, "FLOAT8E5M2FNUZ": dtypes.f8e5m2fnuz, "FLOAT4E2M1": dtypes.f4e2m1,
    "FLOAT8E8M0": dtypes.f8e8m0,
    "INT64": dtypes.i64, "INT32": dtypes.i32, "INT16": dtypes.i16, "INT8": dtypes.i8,
    "UINT64": dtypes.u64, "UINT32": dtypes.u32, "UINT16": dtypes.u16, "UINT8": dtypes.u8,
    "INT4": dtypes.i4, "UINT4": dtypes.u4, "INT2": dtypes.i2, "UINT2": dtypes.u2,
    "BOOL": dtypes.bool_, "STRING": dtypes.string,
}  # fmt: skip


def dtype_of(code: int, what: str) -> DType:
    """Our dtype for ONNX's element type number.

    Raises:
        InvalidModel: ONNX has no such number.
        UnsupportedOperator: ONNX has it, we do not; `what` names the tensor.
    """
    import onnx

    if code not in onnx.TensorProto.DataType.values() or code == onnx.TensorProto.UNDEFINED:
        raise InvalidModel(
            f"{what} has element type {code}, which is no ONNX type. The file is damaged or newer than onnx."
        )
    name = onnx.TensorProto.DataType.Name(code)
    if name not in _BY_ONNX_NAME:
        raise UnsupportedOperator(
            f"{what} has element type {name.lower()}, which Engineworks lacks; "
            f"there are {', '.join(_BY_ONNX_NAME).lower()}."
        )
    return _BY_ONNX_NAME[name]


def lazy_tensor(proto: Any, directory: Path | None) -> Callable[[], np.ndarray]:
    """A function that gives the array of a TensorProto; bytes in another file are mapped, not read.

    Args:
        directory: where the model's file lies, which external data may not leave; None: the model came as bytes.
    Raises (at once): as `dtype_of`; InvalidModel for external data that is missing or outside of `directory`.
    """
    import onnx

    dtype = dtype_of(proto.data_type, f"tensor '{proto.name}'")
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _external(proto, dtype, directory)
    return lambda: tensor_array(proto)


def tensor_array(proto: Any) -> np.ndarray:
    """The array of a TensorProto that carries its own bytes. Raises InvalidModel when bytes and shape do not fit."""
    from onnx import numpy_helper

    dtype = dtype_of(proto.data_type, f"tensor '{proto.name}'")
    try:
        if proto.HasField("raw_data") and dtype.bits >= 8 and dtype.kind != "string":
            return _from_bytes(proto.raw_data, dtype, tuple(proto.dims))
        array = numpy_helper.to_array(proto)
    except ValueError as error:
        raise InvalidModel(
            f"tensor '{proto.name}' {list(proto.dims)} of {dtype} does not fit its bytes: {error}"
        ) from error
    if dtype is dtypes.string:
        return np.array([_text(s) for s in np.asarray(array).ravel()], dtype=object).reshape(
            tuple(proto.dims)
        )
    return array


def _from_bytes(raw: Any, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(raw, dtype=dtype.numpy).reshape(shape)


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _external(proto: Any, dtype: DType, directory: Path | None) -> Callable[[], np.ndarray]:
    """External data: location relative to the model, offset and length in bytes."""
    entries = {e.key: e.value for e in proto.external_data}
    location, offset = entries.get("location", ""), int(entries.get("offset", 0))
    shape = tuple(proto.dims)
    count = int(np.prod(shape, dtype=np.int64))
    expected = -(-count * dtype.bits // 8)
    length = int(entries["length"]) if "length" in entries else expected
    path = _external_path(proto.name, location, directory)
    if length != expected or offset < 0 or path.stat().st_size < offset + length:
        raise InvalidModel(
            f"tensor '{proto.name}' {list(shape)} of {dtype} needs {expected} bytes at {offset} of '{location}', "
            f"which has {path.stat().st_size} bytes in all (the model states {length}). "
            f"The data file is cut short or belongs to another model."
        )

    def load() -> np.ndarray:
        if not length:
            return np.zeros(shape, dtype.numpy)
        raw = np.memmap(path, np.uint8, "r", offset, (length,))
        if dtype.bits < 8:
            import onnx
            from onnx import numpy_helper

            packed = onnx.TensorProto(data_type=proto.data_type, dims=shape, raw_data=raw.tobytes())
            return numpy_helper.to_array(packed)
        return np.asarray(raw).view(dtype.numpy).reshape(shape)

    return load


def _external_path(name: str, location: str, directory: Path | None) -> Path:
    if directory is None:
        raise InvalidModel(
            f"tensor '{name}' keeps its data in the file '{location}', but the model came as bytes. "
            f"Pass the model's path."
        )
    base = directory.resolve()
    path = (base / location).resolve()
    if not location or not path.is_relative_to(base):
        raise InvalidModel(
            f"tensor '{name}' points to '{location}', outside of the model's folder {base}. It is not opened."
        )
    if not path.is_file():
        raise InvalidModel(
            f"tensor '{name}' keeps its data in '{location}', which is not in {base}. Copy that file beside the model."
        )
    return path


def dense_from_sparse(proto: Any, directory: Path | None) -> Callable[[], np.ndarray]:
    """A function that gives the dense array of a SparseTensorProto."""
    values, indices = lazy_tensor(proto.values, directory), lazy_tensor(proto.indices, directory)
    shape = tuple(proto.dims)

    def load() -> np.ndarray:
        given, where = values(), indices()
        dense = np.zeros(shape, given.dtype)
        if where.ndim == 2:
            dense[tuple(where.T)] = given
        else:
            dense.reshape(-1)[where] = given
        return dense

    return load
