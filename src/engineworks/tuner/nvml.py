"""What the driver's management library says about a GPU: driver version, clock, and why it is slowed down.

Through ctypes, since the library comes with the driver. Every answer is None where it is not there.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

_SM_CLOCK = 1
_TEXT_BYTES = 96
_SLOWED = {0x4: "power limit", 0x8: "hardware slowdown", 0x20: "temperature", 0x40: "temperature",
           0x80: "power brake"}  # fmt: skip
"""nvmlClocksEventReasons of nvml.h that make measurements slow."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of the processors now.

    Attributes:
        slowed_by: reasons, each once; none when the GPU runs as it can.
    """

    mhz: int
    slowed_by: tuple[str, ...]


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def driver_version() -> str | None:
    """'580.159.04'."""
    library = _library()
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    if library is None or library.nvmlSystemGetDriverVersion(text, _TEXT_BYTES) != 0:
        return None
    return text.value.decode()


def clock(index: int = 0) -> Clock | None:
    """Of GPU number `index` of the machine."""
    library = _library()
    if library is None:
        return None
    handle, mhz, reasons = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_ulonglong()
    if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
        return None
    if library.nvmlDeviceGetClockInfo(handle, _SM_CLOCK, ctypes.byref(mhz)) != 0:
        return None
    if library.nvmlDeviceGetCurrentClocksThrottleReasons(handle, ctypes.byref(reasons)) != 0:
        reasons.value = 0
    found = dict.fromkeys(name for bit, name in _SLOWED.items() if reasons.value & bit)
    return Clock(mhz.value, tuple(found))
