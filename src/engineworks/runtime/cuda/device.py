"""An NVIDIA GPU as a device of engines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engineworks.core.target import Target
from engineworks.engine.schema import Manifest, Profile
from engineworks.runtime.cuda.interface import Driver
from engineworks.runtime.cuda.module import CudaModule
from engineworks.runtime.cuda.program import CudaProgram
from engineworks.runtime.device import Memory


class CudaDevice:
    """Device 'cuda': one GPU.

    Args:
        index: among those that the process sees; None: the one of the caller's current context, else the first.
        driver: in place of the CUDA driver.
    Raises:
        MissingExtra, EngineMismatch: no bindings, no GPU.
    """

    name = "cuda"

    def __init__(self, index: int | None = None, *, driver: Driver | None = None) -> None:
        if driver is None:
            from engineworks.runtime.cuda.driver import default_index, driver_of

            driver = driver_of(default_index() if index is None else index)
        self.driver = driver

    def target(self) -> Target:
        return Target("cuda", self.driver.facts.arch)

    def facts(self) -> Mapping[str, str]:
        """What `TargetRecord.facts` is compared with."""
        facts = self.driver.facts
        return {
            "gpu": facts.name, "processors": str(facts.processors),
            "cuda": f"{facts.cuda[0]}.{facts.cuda[1]}",
        }  # fmt: skip

    def default_threads(self) -> int:
        return 1

    def load(self, code: memoryview, manifest: Manifest) -> CudaModule:
        """Raises DeviceError, when a kernel is first used."""
        return CudaModule(self.driver, code, manifest)

    def weights(self, content: memoryview, *, is_mapped: bool) -> Memory:
        """One copy, straight from the mapped file."""
        memory = self.driver.allocate(len(content), "weights")
        if len(content):
            stream = self.driver.new_stream()
            self.driver.upload(memory.address, np.frombuffer(content, np.uint8), int(stream))
            self.driver.synchronize(int(stream))
        return memory

    def program(
        self, manifest: Manifest, profile: Profile | None, module: CudaModule, weights: Memory, threads: int
    ) -> CudaProgram:
        return CudaProgram(manifest, profile, self.driver, module, weights)
