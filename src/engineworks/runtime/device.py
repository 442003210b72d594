"""What the runtime asks of a device, and the registry of devices.

A device package registers an entry point in the group 'engineworks.devices'; its name is the `device` of
targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from engineworks.core.target import Target
from engineworks.engine.schema import Manifest, Profile
from engineworks.errors import EngineMismatch
from engineworks.runtime.program import Program


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that kernels can reach; they stay as long as `owner` lives. `address` is 64-aligned."""

    address: int
    size_bytes: int
    owner: object


class Device(Protocol):
    """One kind of hardware."""

    name: str

    def target(self) -> Target:
        """What this machine's device is."""
        ...

    def facts(self) -> Mapping[str, str]:
        """What this machine's device is beyond its target: compared with `TargetRecord.facts`."""
        ...

    def default_threads(self) -> int:
        """Threads of a context that does not ask for a number."""
        ...

    def load(self, code: memoryview, manifest: Manifest) -> Any:
        """Make an engine's functions callable: the module that `program` takes."""
        ...

    def weights(self, content: memoryview, *, is_mapped: bool) -> Memory:
        """The weights where kernels read them; no copy where the device can read the mapped file."""
        ...

    def program(
        self, manifest: Manifest, profile: Profile | None, module: Any, weights: Memory, threads: int
    ) -> Program:
        """A new execution state, with memory of its own, of what `load` and `weights` gave.

        Raises:
            DeviceError: no memory.
        """
        ...


_OURS = {
    "cpu": ("engineworks.runtime.cpu.device", "CpuDevice"),
    "cuda": ("engineworks.runtime.cuda.device", "CudaDevice"),
    "null": ("engineworks.runtime.null.device", "NullDevice"),
}
"""Our own devices, also registered as entry points: scanning the installed packages takes longer than
loading an engine."""


def find(name: str, index: int | None = None) -> Device:
    """The device called `name`.

    Args:
        index: which one, where a machine has several; None leaves it to the device.
    Raises:
        EngineMismatch: no installed package provides it, or this machine has none (with that index).
        MissingExtra: a package that it needs is not installed.
    """
    make = _maker(name)
    return make() if index is None else make(index)


@cache
def _maker(name: str) -> Callable[..., Device]:
    if name in _OURS:
        module, attribute = _OURS[name]
        return getattr(import_module(module), attribute)
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group="engineworks.devices")}
    if name not in found:
        raise EngineMismatch(
            f"the engine needs the device '{name}', which no installed package provides "
            f"(there are: {', '.join(sorted({*found, *_OURS}))}).\n"
            f"  Install its package, or build for another target."
        )
    return found[name].load()
