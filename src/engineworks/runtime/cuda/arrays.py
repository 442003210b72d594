"""Arrays on a GPU: those of other packages seen without a copy, and ours shown to them.

Sources: CUDA Array Interface version 3 (numba's documentation); dlpack.h 1.1 and the Python array API's
`__dlpack__(stream=)`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engineworks.errors import InvalidInput
from engineworks.runtime import dlpack
from engineworks.runtime.cuda.interface import Driver
from engineworks.runtime.shapes import Dims

_LEGACY = 1
"""The legacy default stream as the array interface and DLPack write it; 0 stands for nothing there."""


class DeviceArray:
    """Dense row-major memory of a GPU. Any package that reads `__cuda_array_interface__` or DLPack can use it.

    Attributes:
        address: of its first element.
        stream: its contents are there once this stream has done what is in it now; None: they are there.
        owner: what keeps the memory.
    """

    def __init__(
        self, driver: Driver, address: int, shape: Dims, dtype: np.dtype, *, stream: int | None, owner: Any
    ) -> None:
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.stream = stream
        self.owner = owner
        self._driver = driver

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def first(self, dims: Dims) -> DeviceArray:
        """The start of the memory as an array of this shape."""
        return DeviceArray(self._driver, self.address, dims, self.dtype, stream=self.stream, owner=self.owner)

    def numpy(self) -> np.ndarray:
        """A copy on the host."""
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            stream = self.stream or 0
            self._driver.download(array, self.address, stream)
            self._driver.synchronize(stream)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("memory of a GPU is copied to become a numpy array")
        return self.numpy().astype(dtype or self.dtype, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.dtype.kind == "V":
            raise AttributeError(f"the array interface has no {self.dtype}; DLPack has")
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.address, False), "version": 3,
            "strides": None, "stream": None if self.stream is None else self.stream or _LEGACY,
        }  # fmt: skip

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self._driver.facts.index

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        """A capsule; what the consumer enqueues in `stream` from now on finds the contents there."""
        if self.stream is not None and stream != -1:  # -1: no synchronization is wanted
            _follow(self._driver, stream, self.stream)
        return dlpack.capsule(self.address, self.shape, self.dtype, self._driver.facts.index, self)


def _follow(driver: Driver, consumer: int | None, producer: int) -> None:
    """Work of the consumer's stream waits for what is in the producer's now; None: the host waits."""
    if consumer is None:
        driver.synchronize(producer)
    elif (0 if consumer == _LEGACY else consumer) != producer:
        event = driver.new_event()
        driver.record(event, producer)
        driver.wait(0 if consumer == _LEGACY else consumer, event)


def seen(value: Any, driver: Driver, stream: int) -> DeviceArray | None:
    """`value` as memory of this GPU; None when it lies on the host.

    Args:
        stream: where an array that comes by DLPack is to have its contents ready.
    Raises:
        InvalidInput: it lies on another GPU, or is not dense.
    """
    if isinstance(value, DeviceArray):
        return value
    if dlpack.is_torch(value):
        return _of_torch(value, driver) if value.is_cuda else None
    interface = getattr(value, "__cuda_array_interface__", None)
    # Where the interface does not say which stream the contents come from, DLPack orders them.
    if interface is not None and (interface.get("stream") is not None or not hasattr(value, "__dlpack__")):
        return _of_interface(value, interface, driver)
    device = getattr(value, "__dlpack_device__", None)
    if device is None:
        return None
    kind, index = device()
    if kind not in (dlpack.CUDA, dlpack.MANAGED):
        return None
    _require_same(index, driver)
    memory = dlpack.device_memory(value.__dlpack__(stream=stream or _LEGACY))
    return DeviceArray(driver, memory.address, memory.shape, memory.dtype, stream=stream, owner=memory.owner)


def _of_torch(tensor: Any, driver: Driver) -> DeviceArray:
    import sys

    _require_same(tensor.device.index, driver)
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    stream = sys.modules["torch"].cuda.current_stream(tensor.device).cuda_stream
    return DeviceArray(
        driver,
        tensor.data_ptr(),
        tuple(tensor.shape),
        dlpack.torch_dtype(tensor.dtype),
        stream=stream,
        owner=tensor,
    )


def _of_interface(value: Any, interface: dict[str, Any], driver: Driver) -> DeviceArray:
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None and 0 not in shape and tuple(strides) != row_major(shape, dtype.itemsize):
        raise InvalidInput(
            f"an array of shape {list(shape)} with strides {list(strides)} is not dense in row-major order; "
            f"make it contiguous first"
        )
    index = getattr(getattr(value, "device", None), "id", driver.facts.index)
    _require_same(index, driver)
    # Before version 3 of the interface, contents were ready in the legacy default stream's order.
    stream = interface.get("stream", _LEGACY)
    return DeviceArray(
        driver, interface["data"][0], shape, dtype, stream=0 if stream == _LEGACY else stream, owner=value
    )


def row_major(shape: Dims, itemsize: int) -> Dims:
    """Strides in bytes of a dense array."""
    return tuple(itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _require_same(index: int, driver: Driver) -> None:
    if index != driver.facts.index:
        raise InvalidInput(
            f"it lies on GPU {index}, the engine runs on GPU {driver.facts.index}; copy it there"
        )


def handle_of(stream: Any) -> int:
    """The driver's handle of a stream: an integer, torch's (`cuda_stream`), cupy's (`ptr`), or any with
    `__cuda_stream__`.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(stream, int):
        return stream
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        return int((protocol() if callable(protocol) else protocol)[1])
    for name in ("cuda_stream", "ptr", "handle"):
        handle = getattr(stream, name, None)
        if handle is not None:
            return int(handle)
    raise InvalidInput(
        f"a {type(stream).__qualname__} is no CUDA stream; give its handle, or an object with __cuda_stream__"
    )
