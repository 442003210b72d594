"""What the runtime asks of a device, and the registry of devices.

A device package registers an entry point in the group 'engineworks.devices'; its name is the `device` of
targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

from engineworks.core.target import Target
from engineworks.errors import EngineMismatch

Launch = Callable[[int], object]
"""Runs the job (codegen/llvm/pool.py) at an address to its end."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that kernels can reach; they stay as long as `owner` lives. `address` is 64-aligned."""

    address: int
    size_bytes: int
    owner: object


class Module(Protocol):
    """An engine's code on a device."""

    addresses: Mapping[str, int]

    def launcher(self, threads: int, *, profiled: bool = False) -> Launch:
        """The function that runs jobs with this many threads; it may be called from several threads at
        once.
        """
        ...


class Device(Protocol):
    """One kind of hardware."""

    name: str

    def target(self) -> Target:
        """What this machine's device is."""
        ...

    def default_threads(self) -> int:
        """Threads of a context that does not ask for a number."""
        ...

    def load(self, code: memoryview, symbols: Sequence[str], runner: int) -> Module:
        """Make the functions of a code image callable; `runner` is the image's runner ABI."""
        ...

    def allocate(self, size_bytes: int) -> Memory:
        """Memory with undefined contents."""
        ...

    def weights(self, content: memoryview, *, is_mapped: bool) -> Memory:
        """The weights where kernels read them; no copy where the device can read the mapped file."""
        ...

    def read(self, address: int, size_bytes: int) -> bytes:
        """Bytes of device memory."""
        ...


_OURS = {
    "cpu": ("engineworks.runtime.cpu.device", "CpuDevice"),
    "null": ("engineworks.runtime.null.device", "NullDevice"),
}
"""Our own devices, also registered as entry points: scanning the installed packages takes longer than
loading an engine."""


@cache
def find(name: str) -> Device:
    """The device called `name`.

    Raises:
        EngineMismatch: no installed package provides it.
    """
    if name in _OURS:
        module, attribute = _OURS[name]
        return getattr(import_module(module), attribute)()
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group="engineworks.devices")}
    if name not in found:
        raise EngineMismatch(
            f"the engine needs the device '{name}', which no installed package provides "
            f"(there are: {', '.join(sorted({*found, *_OURS}))}).\n"
            f"  Install its package, or build for another target."
        )
    return found[name].load()()
