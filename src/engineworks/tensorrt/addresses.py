"""Reading what calibrators give addresses of: memory of the host, or of this machine's GPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import numpy as np

from engineworks.errors import DeviceError, EngineMismatch, MissingExtra
from engineworks.runtime import device as devices

if TYPE_CHECKING:
    from engineworks.runtime.cuda.interface import Driver


class Reader(Protocol):
    """Reads memory."""

    hint: str
    """What addresses are of, for messages."""

    def read(self, address: int, size_bytes: int) -> bytes:
        """The bytes at an address; none where they cannot be read."""
        ...


class HostReader:
    """Reads the host's memory through the system, so that a wrong address is an error and not a crash."""

    hint = "host memory here: array.ctypes.data or tensor.data_ptr() of a CPU tensor"

    def read(self, address: int, size_bytes: int) -> bytes:
        try:
            with open("/proc/self/mem", "rb", buffering=0) as memory:
                return os.pread(memory.fileno(), size_bytes, address)
        except (OSError, OverflowError):
            return b""


class GpuReader:
    """Reads a GPU's memory, after what is in its default stream."""

    hint = "the GPU's memory here, since the engine is for it: tensor.data_ptr() of a CUDA tensor"

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def read(self, address: int, size_bytes: int) -> bytes:
        content = np.empty(size_bytes, np.uint8)
        try:
            self._driver.download(content, address, 0)
            self._driver.synchronize(0)
        except DeviceError:
            return b""
        return content.tobytes()


def reader_for(target: str) -> Reader:
    """Of the GPU's memory, where the engine is for GPUs and this machine has one; else of the host's."""
    if "cuda" not in target:
        return HostReader()
    try:
        device = devices.find("cuda")
    except (EngineMismatch, MissingExtra):
        # Built on a machine without a GPU: there is no memory but the host's.
        return HostReader()
    return GpuReader(device.driver)  # type: ignore[attr-defined]
