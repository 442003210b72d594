"""Inputs and outputs of a run: device memory as it is, host arrays by way of pinned memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

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
_PACKED = 256
"""Bytes that packed arrays begin at multiples of."""
_NOTHING = np.zeros(0, np.uint8)


class _Pack:
    """Device memory and pinned host memory for the arrays of one direction, in a row; both grow, and stay."""

    def __init__(self, driver: Driver, what: str) -> None:
        self._driver, self._what = driver, what
        self._memory: Memory | None = None
        self._pinned: np.ndarray | None = None

    def memory(self, size_bytes: int) -> int:
        """Address of at least so many bytes on the device."""
        if self._memory is None or self._memory.size_bytes < size_bytes:
            self._memory = None  # the old bytes may be what the new ones need
            self._memory = self._driver.allocate(size_bytes, self._what)
        return self._memory.address

    def pinned(self, size_bytes: int) -> np.ndarray:
        """So many bytes of the host."""
        if self._pinned is None or len(self._pinned) < size_bytes:
            self._pinned = None
            self._pinned = self._driver.pinned(size_bytes)
        return self._pinned[:size_bytes]


@dataclass(slots=True)
class _Traffic:
    """What one direction copies at each run.

    Attributes:
        base: where the pack lies on the device.
        packed: the host's twin of it; empty when no array is the host's.
        host: (bytes of an array, its bytes in `packed`).
        device: (array, its address in the pack): not aligned where it lies.
    """

    base: int
    packed: np.ndarray
    host: list[tuple[np.ndarray, np.ndarray]]
    device: list[tuple[DeviceArray, int]]


class Ports:
    """The arrays of one context.

    Args:
        places: gets the address of each input, then of each output, in `settle`.
    """

    def __init__(self, manifest: Manifest, driver: Driver, places: list[int]) -> None:
        self._driver = driver
        self._places = places
        self._inputs: list[Any] = [None] * len(manifest.inputs)
        self._outputs: list[Any] = [None] * len(manifest.outputs)
        self._packs = _Pack(driver, "copies of inputs"), _Pack(driver, "copies of outputs")
        self._in: _Traffic | None = None
        self._out: _Traffic | None = None
        self._streams: frozenset[int] | None = None
        self._copied_in = driver.new_event()
        self._may_be_copying = False

    @property
    def streams(self) -> frozenset[int]:
        """Those that inputs become ready in."""
        if self._streams is None:
            found = {a.stream for a in self._inputs if isinstance(a, DeviceArray)}
            self._streams = frozenset(s for s in found if s is not None)
        return self._streams

    @property
    def are_on_device(self) -> bool:
        """New outputs belong there too: an input lies there."""
        return any(isinstance(a, DeviceArray) for a in self._inputs)

    @property
    def copies(self) -> bool:
        """Some array is not used where it lies."""
        return any(t is None or bool(t.host or t.device) for t in (self._in, self._out))

    @property
    def has_host_outputs(self) -> bool:
        return self._out is not None and bool(self._out.host)

    def bind_input(self, number: int, array: np.ndarray | DeviceArray) -> None:
        self._inputs[number] = array
        self._in = self._streams = None

    def bind_output(self, number: int, array: np.ndarray | DeviceArray) -> None:
        # Of memory that needs no copy only the address stays: the user may let go of an output at any time.
        self._outputs[number] = array.address if _is_usable(array) else array
        self._out = None

    def settle(self) -> None:
        """Give every array its place."""
        if self._in is None:
            if self._may_be_copying:
                self._driver.synchronize_event(self._copied_in)
            self._in = self._traffic(self._inputs, 0, self._packs[0])
        if self._out is None:
            self._out = self._traffic(self._outputs, len(self._inputs), self._packs[1])

    def _traffic(self, arrays: Sequence[Any], first: int, pack: _Pack) -> _Traffic:
        offsets: list[tuple[int, Any, int]] = []
        size, is_on_host = 0, False
        for k, array in enumerate(arrays):
            if isinstance(array, int) or _is_usable(array):
                self._places[first + k] = array if isinstance(array, int) else array.address
                continue
            offsets.append((first + k, array, size))
            is_on_host |= isinstance(array, np.ndarray)
            size += -(-array.nbytes // _PACKED) * _PACKED
        if not offsets:
            return _Traffic(0, _NOTHING, [], [])
        made = _Traffic(pack.memory(size), pack.pinned(size) if is_on_host else _NOTHING, [], [])
        for place, array, offset in offsets:
            self._places[place] = made.base + offset
            if isinstance(array, DeviceArray):
                made.device.append((array, made.base + offset))
            else:
                made.host.append((_bytes_of(array), made.packed[offset : offset + array.nbytes]))
        return made

    def copy_in(self, stream: int) -> None:
        """Enqueue the copies of inputs that need one."""
        traffic = self._in
        assert traffic is not None, "settle comes first"
        if traffic.host:
            if self._may_be_copying:
                self._driver.synchronize_event(self._copied_in)
            for array, packed in traffic.host:
                np.copyto(packed, array)
            self._driver.upload(traffic.base, traffic.packed, stream)
            self._driver.record(self._copied_in, stream)
            self._may_be_copying = True
        for array, address in traffic.device:
            self._driver.copy(address, array.address, array.nbytes, stream)

    def copy_out(self, stream: int) -> None:
        """Enqueue the copies of outputs that need one; host arrays get theirs from `give_host_outputs`."""
        traffic = self._out
        assert traffic is not None, "settle comes first"
        if traffic.host:
            self._driver.download(traffic.packed, traffic.base, stream)
        for array, address in traffic.device:
            self._driver.copy(array.address, address, array.nbytes, stream)

    def give_host_outputs(self) -> None:
        """After the stream has been waited for."""
        self._may_be_copying = False
        assert self._out is not None, "settle comes first"
        for array, packed in self._out.host:
            np.copyto(array, packed)


def _is_usable(array: Any) -> TypeGuard[DeviceArray]:
    """Kernels can work on the array where it lies."""
    return isinstance(array, DeviceArray) and array.address % _ALIGNMENT == 0


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
