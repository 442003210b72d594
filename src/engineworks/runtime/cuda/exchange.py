"""Inputs and outputs of a run: device memory as it is, host arrays by way of pinned memory."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.engine.schema import Manifest
from engineworks.errors import DeviceError
from engineworks.runtime import dlpack
from engineworks.runtime.cuda.arrays import DeviceArray
from engineworks.runtime.cuda.interface import Driver
from engineworks.runtime.device import Memory
from engineworks.runtime.shapes import Dims

_ALIGNMENT = 16
"""Bytes: what kernels rely on (`codegen/triton/function.py::pointer`)."""


@dataclass(slots=True)
class _Port:
    """One input or output.

    Attributes:
        name: for messages.
        array: what the user gave, or will get.
        copied: it lies on the host, or is not aligned: the engine works on `memory`.
        memory, pinned: grow when needed, and stay.
    """

    name: str
    array: np.ndarray | DeviceArray | None = None
    copied: bool = False
    memory: Memory | None = None
    pinned: np.ndarray | None = None

    @property
    def is_on_host(self) -> bool:
        return isinstance(self.array, np.ndarray)


class Ports:
    """The arrays of one context.

    Args:
        places: gets the address of each input, then of each output, whenever one is bound.

    Attributes:
        streams: those that inputs become ready in.
    """

    def __init__(self, manifest: Manifest, driver: Driver, places: list[int]) -> None:
        self._driver = driver
        self._places = places
        self._inputs = [_Port(f"input '{t.name}'") for t in manifest.inputs]
        self._outputs = [_Port(f"output '{t.name}'") for t in manifest.outputs]
        self._copied_in = driver.new_event()
        self._may_be_copying = False

    @property
    def streams(self) -> set[int]:
        found = {p.array.stream for p in self._inputs if isinstance(p.array, DeviceArray)}
        return {s for s in found if s is not None}

    @property
    def are_on_device(self) -> bool:
        """New outputs belong there too: an input lies there."""
        return any(isinstance(p.array, DeviceArray) for p in self._inputs)

    @property
    def has_host_outputs(self) -> bool:
        return any(p.is_on_host for p in self._outputs)

    def bind_input(self, number: int, array: np.ndarray | DeviceArray) -> None:
        self._places[number] = self._bind(self._inputs[number], array)

    def bind_output(self, number: int, array: np.ndarray | DeviceArray) -> None:
        self._places[len(self._inputs) + number] = self._bind(self._outputs[number], array)

    def _bind(self, port: _Port, array: np.ndarray | DeviceArray) -> int:
        port.array = array
        if isinstance(array, DeviceArray) and array.address % _ALIGNMENT == 0:
            port.copied = False
            return array.address
        port.copied = True
        if port.memory is None or port.memory.size_bytes < array.nbytes:
            port.memory = self._driver.allocate(array.nbytes, port.name)
        if port.is_on_host and (port.pinned is None or len(port.pinned) < array.nbytes):
            port.pinned = self._driver.pinned(array.nbytes)
        return port.memory.address

    def copy_in(self, stream: int) -> None:
        """Enqueue the copies of inputs that need one."""
        if not any(p.copied for p in self._inputs):
            return
        if self._may_be_copying:
            self._driver.synchronize_event(self._copied_in)
        for port in self._inputs:
            if not port.copied or port.array is None or not port.array.nbytes:
                continue
            assert port.memory is not None
            if isinstance(port.array, DeviceArray):
                self._driver.copy(port.memory.address, port.array.address, port.array.nbytes, stream)
                continue
            assert port.pinned is not None
            staged = port.pinned[: port.array.nbytes]
            np.copyto(staged, _bytes_of(port.array))
            self._driver.upload(port.memory.address, staged, stream)
        self._driver.record(self._copied_in, stream)
        self._may_be_copying = True

    def copy_out(self, stream: int) -> None:
        """Enqueue the copies of outputs that need one; host arrays get theirs from `give_host_outputs`."""
        for port in self._outputs:
            if not port.copied or port.array is None or not port.array.nbytes:
                continue
            assert port.memory is not None
            if isinstance(port.array, DeviceArray):
                self._driver.copy(port.array.address, port.memory.address, port.array.nbytes, stream)
            else:
                assert port.pinned is not None
                self._driver.download(port.pinned[: port.array.nbytes], port.memory.address, stream)

    def give_host_outputs(self) -> None:
        """After the stream has been waited for."""
        self._may_be_copying = False
        for port in self._outputs:
            if isinstance(port.array, np.ndarray) and port.array.nbytes:
                assert port.pinned is not None
                np.copyto(_bytes_of(port.array), port.pinned[: port.array.nbytes])


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """A view of a contiguous array."""
    return array.reshape(-1).view(np.uint8)


def new_output(driver: Driver, dims: Dims, dtype: np.dtype, package: Any, stream: int) -> DeviceArray:
    """Memory for an output that will be written in a stream: torch's or cupy's own, from their pools, for them.

    Raises:
        DeviceError: there is none.
    """
    if package is not None and package is sys.modules.get("torch"):
        tensor = _torch_empty(package, dims, dtype, driver.facts.index, stream)
        return DeviceArray(driver, tensor.data_ptr(), dims, dtype, stream=stream, owner=tensor)
    size = math.prod(dims) * dtype.itemsize
    memory = driver.allocate(size, "an output")
    return DeviceArray(driver, memory.address, dims, dtype, stream=stream, owner=memory.owner)


def _torch_empty(torch: Any, dims: Dims, dtype: np.dtype, index: int, stream: int) -> Any:
    kind = getattr(torch, dtype.name)
    device = torch.device("cuda", index)
    try:
        if torch.cuda.current_stream(device).cuda_stream == stream:
            return torch.empty(dims, dtype=kind, device=device)
        # torch's pool reuses memory in the order of the stream it was taken for.
        with torch.cuda.stream(torch.cuda.ExternalStream(stream, device)):
            return torch.empty(dims, dtype=kind, device=device)
    except torch.OutOfMemoryError as error:
        raise DeviceError(str(error)) from None


def give(array: np.ndarray | DeviceArray, package: Any) -> Any:
    """An output as an array of `package`, over the same memory."""
    if package is None:
        return array
    if isinstance(array, np.ndarray):
        return dlpack.give(array, package)
    owner = array.owner
    if dlpack.is_torch(owner) and package is sys.modules["torch"]:
        if tuple(owner.shape) == array.shape:
            return owner
        return owner.reshape(-1)[: math.prod(array.shape)].reshape(array.shape)
    return package.from_dlpack(array)
