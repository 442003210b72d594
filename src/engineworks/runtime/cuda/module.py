"""An engine's kernels on a GPU, each loaded when it is first needed."""

from __future__ import annotations

import threading
from typing import Any

from engineworks.engine.schema import Manifest
from engineworks.runtime.cuda.interface import Driver


class CudaModule:
    """Shared by the contexts of one engine."""

    def __init__(self, driver: Driver, code: memoryview, manifest: Manifest) -> None:
        self.driver = driver
        self._code = code
        self._kernels = manifest.kernels
        self._functions: dict[int, Any] = {}
        self._lock = threading.Lock()

    def function(self, number: int) -> Any:
        """What `Driver.bind` takes for kernel `number`. Raises DeviceError: the driver refuses it."""
        found = self._functions.get(number)
        if found is None:
            kernel = self._kernels[number]
            with self._lock:
                found = self._functions.get(number)
                if found is None:
                    slice_ = self._code[kernel.offset : kernel.offset + kernel.size]
                    found = self._functions[number] = self.driver.function(slice_, kernel)
        return found
