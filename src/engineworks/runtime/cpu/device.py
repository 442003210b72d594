"""The CPU as a device: its features, code images, threads and memory."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np

from engineworks.core import target
from engineworks.engine.schema import Manifest, Profile
from engineworks.errors import DeviceError, EngineMismatch, NewerFormat
from engineworks.runtime.cpu import loader, pool
from engineworks.runtime.device import Memory
from engineworks.runtime.plan import Launch, PlanProgram

ALIGNMENT = 64


class CpuModule:
    """A loaded code image and its record runner."""

    def __init__(self, image: loader.Image) -> None:
        self._image = image
        self.addresses: Mapping[str, int] = image.addresses

    def launcher(self, threads: int, *, profiled: bool = False) -> Launch:
        name = "program_run_profiled" if profiled else "program_run"
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self.addresses[name])
        if threads == 1:
            return lambda job: run(None, job)
        pools, image = pool.pools_of(threads), self._image

        def launch(job: int) -> None:
            borrowed = pools.take(image)
            # Read again at the end: a fork in another thread replaces the queue in the child.
            try:
                run(borrowed.address, job)
            finally:
                pools.free.put(borrowed)

        return launch


class CpuDevice:
    """Device 'cpu'."""

    name = "cpu"

    def __init__(self, index: int = 0) -> None:
        """Raises EngineMismatch: all cores are one device, number 0."""
        if index:
            raise EngineMismatch(f"there is no CPU device {index}; all cores are device 0")

    def target(self) -> target.Target:
        return target.host()

    def facts(self) -> Mapping[str, str]:
        return {}

    def default_threads(self) -> int:
        return min(pool.available_cores(), pool.MAX_THREADS)

    def load(self, code: memoryview, manifest: Manifest) -> CpuModule:
        """Raises CorruptEngine, DeviceError (loader.load) and NewerFormat."""
        if manifest.runner != pool.RUNNER_ABI:
            raise NewerFormat(
                f"the engine's code speaks runner ABI {manifest.runner}, this Engineworks {pool.RUNNER_ABI}: "
                f"build the engine again, or use the Engineworks that wrote it"
            )
        return CpuModule(loader.load(code, [*(k.symbol for k in manifest.kernels), *pool.SYMBOLS]))

    def allocate(self, size_bytes: int) -> Memory:
        """Raises DeviceError: no memory."""
        try:
            owner = np.empty(size_bytes + ALIGNMENT, np.uint8)
        except MemoryError:
            raise DeviceError(f"no memory for {size_bytes:,} bytes of activations") from None
        return Memory(-(-owner.ctypes.data // ALIGNMENT) * ALIGNMENT, size_bytes, owner)

    def weights(self, content: memoryview, *, is_mapped: bool) -> Memory:
        if is_mapped:
            view = np.frombuffer(content, np.uint8)
            return Memory(view.ctypes.data, len(view), view)
        # An engine in a bytes object lies anywhere; kernels want aligned weights.
        memory = self.allocate(len(content))
        ctypes.memmove(memory.address, bytes(content), len(content))
        return memory

    def program(
        self, manifest: Manifest, profile: Profile | None, module: CpuModule, weights: Memory, threads: int
    ) -> PlanProgram:
        return PlanProgram(manifest, profile, self, module, weights, threads)

    def read(self, address: int, size_bytes: int) -> bytes:
        return ctypes.string_at(address, size_bytes)
