"""The memory that programs give addresses of: the host's, or a GPU's."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from engineworks.runtime.cuda.arrays import DeviceArray
from engineworks.tensorrt.enums import TensorLocation
from engineworks.tensorrt.values import Dims

if TYPE_CHECKING:
    from engineworks.runtime.context import Context
    from engineworks.runtime.cuda.interface import Driver
    from engineworks.runtime.engine import Engine


class Memory(Protocol):
    """What an engine reads and writes."""

    location: TensorLocation
    example: str
    """How programs get an address, for messages."""

    def view(self, address: int, shape: Dims, dtype: np.dtype) -> Any:
        """The array of dense rows at an address, as contexts take it."""
        ...

    def copy(self, to: Any, array: Any, stream: int) -> None:
        """Give a view what an output of a context holds."""
        ...

    def run(self, context: Context, stream: int, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
        """The outputs of a context, on the arrays that are bound to it or on other inputs; on a GPU in a stream."""
        ...

    def wait(self, stream: int) -> None:
        """Return when everything in a stream is done."""
        ...


class HostMemory:
    """Host memory, for engines on the CPU: streams mean nothing, and a call returns when its work is done."""

    location = TensorLocation.HOST
    example = "array.ctypes.data"

    def view(self, address: int, shape: Dims, dtype: np.dtype) -> np.ndarray:
        count = int(np.prod(shape, dtype=np.int64))
        raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
        return np.frombuffer(memoryview(raw), dtype, count).reshape(shape)

    def copy(self, to: np.ndarray, array: np.ndarray, stream: int) -> None:
        to[...] = array

    def run(self, context: Context, stream: int, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
        return context.execute() if inputs is None else context.run(**inputs)

    def wait(self, stream: int) -> None:
        return None


class DeviceMemory:
    """Memory of a GPU: everything is enqueued in the caller's stream, and nothing waits."""

    location = TensorLocation.DEVICE
    example = "tensor.data_ptr()"

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def view(self, address: int, shape: Dims, dtype: np.dtype) -> DeviceArray:
        # The caller orders the stream; the engine is to wait for no other.
        return DeviceArray(self._driver, address, tuple(shape), dtype, stream=None, owner=None)

    def copy(self, to: DeviceArray, array: DeviceArray, stream: int) -> None:
        self._driver.copy(to.address, array.address, array.nbytes, stream)

    def run(self, context: Context, stream: int, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
        return context.enqueue(stream, **inputs or {})

    def wait(self, stream: int) -> None:
        self._driver.synchronize(stream)


def memory_of(engine: Engine) -> Memory:
    """Where an engine's inputs and outputs lie."""
    driver = getattr(engine._device, "driver", None)
    return HostMemory() if driver is None else DeviceMemory(driver)
