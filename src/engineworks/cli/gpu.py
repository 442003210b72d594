"""Engines on a GPU, timed by its own clock with inputs and outputs that lie there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from engineworks.runtime.context import Context
    from engineworks.runtime.cuda.interface import Driver


class DeviceRun:
    """One inference, again and again, between two events.

    Args:
        arrays: inputs by name, copied to the GPU now.
    """

    def __init__(
        self, context: Context, arrays: Mapping[str, np.ndarray], driver: Driver | None = None
    ) -> None:
        from engineworks.runtime.cuda.arrays import DeviceArray

        self._driver = driver or _default_driver()
        self._stream = self._driver.new_stream()
        self._marks = self._driver.new_event(timed=True), self._driver.new_event(timed=True)
        self._context = context
        placed = {}
        for name, array in arrays.items():
            dense = np.ascontiguousarray(array)
            memory = self._driver.allocate(dense.nbytes, f"input '{name}'")
            self._driver.upload(memory.address, dense, int(self._stream))
            # The stream of its inputs is where the engine works.
            placed[name] = DeviceArray(
                self._driver, memory.address, dense.shape, dense.dtype, stream=int(self._stream), owner=memory
            )
        context.bind(**placed)

    def __call__(self) -> float:
        """Seconds on the GPU."""
        first, last = self._marks
        stream = int(self._stream)
        self._driver.record(first, stream)
        self._context.execute()
        self._driver.record(last, stream)
        return self._driver.elapsed_s(first, last)


def _default_driver() -> Driver:
    from engineworks.runtime.cuda.driver import default_index, driver_of

    return driver_of(default_index())
