"""What calibrators give (addresses, arrays) as arrays by input name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from engineworks.core.types import Shape
from engineworks.errors import CalibrationError
from engineworks.tensorrt.addresses import HostReader, Reader

if TYPE_CHECKING:
    from engineworks.tensorrt.calibrators import IInt8Calibrator

Inputs = Mapping[str, tuple[np.dtype, Shape]]
"""Element type and shape of each input in a batch."""


def batches(
    calibrator: IInt8Calibrator, inputs: Inputs, reader: Reader | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Copies of the calibrator's batches, until it gives none.

    Args:
        reader: of what addresses are of; None: of the host's memory.
    Raises:
        CalibrationError: a batch has too few or too many parts, or a part does not hold what its input takes.
        NotImplementedError: the calibrator lacks a method.
    """
    names, reader = list(inputs), reader or HostReader()
    number = 0
    while (given := calibrator.get_batch(names)) is not None and len(given):
        where = f"batch {number} of {type(calibrator).__name__}"
        if len(given) != len(names):
            raise CalibrationError(
                f"{where} has {len(given)} parts; the network has {len(names)} inputs: {', '.join(names)}"
            )
        yield {
            name: _part(part, *inputs[name], f"{where}: '{name}'", reader)
            for name, part in zip(names, given, strict=True)
        }
        number += 1


def batch_size_of(calibrator: IInt8Calibrator) -> int:
    """What the calibrator says. Raises CalibrationError when it is not a count."""
    size = calibrator.get_batch_size()
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise CalibrationError(f"{type(calibrator).__name__}.get_batch_size() is {size!r}, not a count")
    return int(size)


def _part(part: Any, dtype: np.dtype, shape: Shape, where: str, reader: Reader) -> np.ndarray:
    """A copy of one input's batch: the program may reuse its memory."""
    sizes = tuple(int(d) for d in shape)  # type: ignore[arg-type]  # calibration shapes are numbers
    if getattr(part, "is_cuda", False):
        part = part.detach().cpu()
    if isinstance(part, np.ndarray) or hasattr(part, "__array_interface__") or hasattr(part, "__array__"):
        return _of_array(np.asarray(part), dtype, sizes, where)
    address = part.data_ptr() if hasattr(part, "data_ptr") else getattr(part, "ptr", part)
    try:
        return _of_address(int(address), dtype, sizes, where, reader)
    except (TypeError, ValueError) as error:
        raise CalibrationError(
            f"{where} is a {type(part).__name__}: give an address (an integer) or an array"
        ) from error


def _of_array(array: np.ndarray, dtype: np.dtype, sizes: tuple[int, ...], where: str) -> np.ndarray:
    """An array may hold another number of examples than the calibration shape, or lie flat."""
    fits = array.shape[1:] == sizes[1:] and array.ndim == len(sizes)
    if array.dtype != dtype or not (fits or array.size == int(np.prod(sizes))):
        raise CalibrationError(
            f"{where} is {array.dtype}{list(array.shape)}; the calibration shape is {dtype}{list(sizes)}"
        )
    return (array if fits else array.reshape(sizes)).copy()


def _of_address(
    address: int, dtype: np.dtype, sizes: tuple[int, ...], where: str, reader: Reader
) -> np.ndarray:
    size = int(np.prod(sizes)) * dtype.itemsize
    data = reader.read(address, size)
    if len(data) != size:
        raise CalibrationError(
            f"{where}: {size} bytes of {dtype}{list(sizes)} cannot be read at {address:#x}. "
            f"Addresses are of {reader.hint}"
        )
    return np.frombuffer(data, dtype).reshape(sizes)
