"""Where the buffers of one context lie."""

from __future__ import annotations

from engineworks.engine.schema import Manifest, Profile
from engineworks.errors import RunError
from engineworks.runtime.cuda.interface import Driver
from engineworks.runtime.device import Memory

_ALIGNMENT = 256


class Places:
    """The arena, then the symbols' int64 slots, are one allocation.

    Attributes:
        memory: that allocation.
        symbols: address of the slots.
        ports: addresses of all inputs, then of all outputs, as bound last.
    """

    def __init__(self, manifest: Manifest, profile: Profile | None, driver: Driver, weights: Memory) -> None:
        self._buffers = manifest.buffers
        self._first_output = len(manifest.inputs)
        has_own_plan = profile is not None and bool(profile.offsets)
        self._offsets = (
            profile.offsets if profile and has_own_plan else tuple(b.offset for b in manifest.buffers)
        )
        arena = profile.arena_bytes if profile and has_own_plan else manifest.arena_bytes
        aligned = -(-arena // _ALIGNMENT) * _ALIGNMENT
        self.memory = driver.allocate(aligned + 8 * max(1, len(manifest.symbols)), "activations")
        self.symbols = self.memory.address + aligned
        self.ports = [0] * (len(manifest.inputs) + len(manifest.outputs))
        self._weights = weights

    def address(self, buffer: int) -> int:
        """Of a buffer's first byte."""
        record = self._buffers[buffer]
        match record.place:
            case "arena":
                return self.memory.address + self._offsets[buffer]
            case "weights":
                return self._weights.address + record.offset
            case "input":
                return self.ports[record.offset]
            case "output":
                return self.ports[self._first_output + record.offset]
            case "symbols":
                return self.symbols
            case "plan":
                raise RunError("a GPU's engine has no plan: please report this engine")
