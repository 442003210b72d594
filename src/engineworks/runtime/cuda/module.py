"""An engine's kernels on a GPU, each loaded when it is first needed."""

from __future__ import annotations

import threading
from typing import Any

from engineworks.engine.schema import Kernel, Manifest
from engineworks.runtime.compatibility import runs_cubin
from engineworks.runtime.cuda.interface import Driver
from engineworks.runtime.cuda.libraries import require


class CudaModule:
    """Shared by the contexts of one engine. Raises EngineMismatch: a library that it calls is not here."""

    def __init__(self, driver: Driver, code: memoryview, manifest: Manifest) -> None:
        self.driver = driver
        self._code = code
        self._kernels = manifest.kernels
        self._functions: dict[int, Any] = {}
        self._lock = threading.Lock()
        for kernel in manifest.kernels:
            if kernel.library:
                require(kernel.library, kernel.call)
        self._runs_cubins = runs_cubin(manifest.target.arch, driver.facts.arch)

    def function(self, number: int) -> Any:
        """What `Driver.bind` takes for kernel `number`. Raises DeviceError: the driver refuses it."""
        found = self._functions.get(number)
        if found is None:
            kernel = self._kernels[number]
            with self._lock:
                found = self._functions.get(number)
                if found is None:
                    found = self._functions[number] = self.driver.function(self._image(kernel), kernel)
        return found

    def _image(self, kernel: Kernel) -> memoryview:
        """Machine code where this GPU runs it, else PTX, which the driver translates."""
        if self._runs_cubins:
            return self._code[kernel.offset : kernel.offset + kernel.size]
        return self._code[kernel.ptx_offset : kernel.ptx_offset + kernel.ptx_size]
