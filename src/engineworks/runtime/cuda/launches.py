"""Kernels and library functions with their grids and words, ready to be enqueued."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engineworks.engine.schema import Kernel
from engineworks.runtime.cuda.interface import TensorMapWord, Word
from engineworks.runtime.cuda.parameters import Parameters

if TYPE_CHECKING:
    from engineworks.runtime.cuda.driver import CudaDriver


@dataclass(frozen=True, slots=True)
class Function:
    """A loaded kernel.

    Attributes:
        handle: a CUfunction. module: what it belongs to, unloaded when nobody holds it.
    """

    handle: Any
    module: Any
    kernel: Kernel


class KernelLaunch:
    """See `interface.BoundLaunch`."""

    is_kernel = True

    def __init__(
        self,
        driver: CudaDriver,
        function: Function,
        grid: tuple[int, int, int],
        words: Sequence[Word],
        *,
        overlaps: bool,
    ) -> None:
        self._driver = driver
        self._function = function
        self._parameters = Parameters(words, function.kernel.swizzles, driver.descriptor)
        # A program of Triton's is a cluster: the grid counts clusters, the driver blocks.
        self._grid = (grid[0] * function.kernel.cluster, grid[1], grid[2])
        self._config = self._configured(overlaps)
        self._stream = -1

    def _configured(self, overlaps: bool) -> Any:
        api, kernel = self._driver.api, self._function.kernel
        config = api.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = self._grid
        config.blockDimX, config.blockDimY, config.blockDimZ = kernel.threads, 1, 1
        config.sharedMemBytes = kernel.shared_bytes
        names = api.CUlaunchAttributeID
        attributes = []
        if overlaps:
            attribute = api.CUlaunchAttribute()
            attribute.id = names.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
            attribute.value.programmaticStreamSerializationAllowed = 1
            attributes.append(attribute)
        if kernel.cluster > 1:
            attribute = api.CUlaunchAttribute()
            attribute.id = names.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            size = attribute.value.clusterDim
            size.x, size.y, size.z = kernel.cluster, 1, 1
            attributes.append(attribute)
        config.attrs = attributes
        config.numAttrs = len(attributes)
        return config

    def rebind(self, words: Sequence[Word]) -> None:
        self._parameters.rebind(words)

    def launch(self, stream: int) -> None:
        driver = self._driver
        if stream != self._stream:
            self._config.hStream = stream
            self._stream = stream
        with driver.current():
            done = driver.api.cuLaunchKernelEx(
                self._config, self._function.handle, self._parameters.pointer, 0
            )
        if done[0] != 0:
            driver.check(done, f"launching {self._function.kernel.symbol} with {self._grid} blocks")

    @functools.cached_property
    def node_parameters(self) -> Any:
        """For a node of an instantiated graph; they point to the words, which `rebind` changes."""
        kernel = self._function.kernel
        node = self._driver.api.CUDA_KERNEL_NODE_PARAMS()
        node.func = self._function.handle
        node.gridDimX, node.gridDimY, node.gridDimZ = self._grid
        node.blockDimX, node.blockDimY, node.blockDimZ = kernel.threads, 1, 1
        node.sharedMemBytes = kernel.shared_bytes
        node.kernelParams = self._parameters.pointer
        return node


class LibraryLaunch:
    """See `interface.BoundLaunch`. `call` is what `libraries.prepare` gave."""

    is_kernel = False

    def __init__(self, driver: CudaDriver, call: Any, words: Sequence[Word]) -> None:
        self._driver = driver
        self._call = call
        self._words: list[int] = []
        self.rebind(words)

    def rebind(self, words: Sequence[Word]) -> None:
        assert not any(isinstance(w, TensorMapWord) for w in words), "libraries take addresses and sizes"
        self._words = [w for w in words if isinstance(w, int)]
        with self._driver.current():
            self._call.ready(self._words)

    def launch(self, stream: int) -> None:
        with self._driver.current():
            self._call.launch(stream, self._words)
