"""A device that allocates nothing and runs nothing but remembers what it was asked: for tests of
everything but hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineworks.core.target import Target
from engineworks.engine.schema import Manifest, Profile
from engineworks.runtime.device import Memory
from engineworks.runtime.plan import Launch, PlanProgram


class NullModule:
    """Functions at made-up addresses."""

    def __init__(self, symbols: Sequence[str], calls: list[tuple[str, int]]) -> None:
        self.addresses: Mapping[str, int] = {name: 0x1000 + 16 * i for i, name in enumerate(symbols)}
        self._calls = calls

    def launcher(self, threads: int, *, profiled: bool = False) -> Launch:
        return lambda job: self._calls.append(("launch", threads))


class NullDevice:
    """Device 'null'.

    Attributes:
        calls: (what, how much) in order: ('allocate', bytes), ('weights', bytes), ('load', functions),
        ('launch', threads).
    """

    name = "null"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self._next = 1 << 20

    def target(self) -> Target:
        return Target("null", "none")

    def facts(self) -> Mapping[str, str]:
        return {}

    def default_threads(self) -> int:
        return 1

    def load(self, code: memoryview, manifest: Manifest) -> NullModule:
        self.calls.append(("load", len(manifest.kernels)))
        return NullModule([k.symbol for k in manifest.kernels], self.calls)

    def allocate(self, size_bytes: int) -> Memory:
        self.calls.append(("allocate", size_bytes))
        return self._memory(size_bytes)

    def weights(self, content: memoryview, *, is_mapped: bool) -> Memory:
        self.calls.append(("weights", len(content)))
        return self._memory(len(content))

    def program(
        self, manifest: Manifest, profile: Profile | None, module: NullModule, weights: Memory, threads: int
    ) -> PlanProgram:
        return PlanProgram(manifest, profile, self, module, weights, threads)

    def read(self, address: int, size_bytes: int) -> bytes:
        return bytes(size_bytes)

    def _memory(self, size_bytes: int) -> Memory:
        memory = Memory(self._next, size_bytes, None)
        self._next += -(-size_bytes // 64) * 64
        return memory
