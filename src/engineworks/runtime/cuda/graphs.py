"""Rows of launches as CUDA graphs."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engineworks.runtime.cuda.interface import BoundLaunch
from engineworks.runtime.cuda.launches import KernelLaunch

if TYPE_CHECKING:
    from engineworks.runtime.cuda.driver import CudaDriver


_REFUSALS = (
    "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
    "CUDA_ERROR_NOT_SUPPORTED",
    "CUDA_ERROR_INVALID_VALUE",
)
"""What a driver says of a node that it cannot update; a new capture tells whether anything else is wrong."""


class CapturedGraph:
    """See `interface.Graph`."""

    def __init__(
        self,
        driver: CudaDriver,
        graph: Any,
        executable: Any,
        launches: Sequence[BoundLaunch],
        nodes: Sequence[Any],
    ) -> None:
        self._driver = driver
        self._executable = executable
        self._launches = launches
        self._nodes = nodes
        self._end = weakref.finalize(self, _destroy, driver, graph, executable)
        # pyrefly: ignore[missing-attribute]
        self._end.atexit = False

    def launch(self, stream: int) -> None:
        driver = self._driver
        with driver.current():
            done = driver.api.cuGraphLaunch(self._executable, stream)
        if done[0] != 0:
            driver.check(done, f"launching a graph of {len(self._nodes)} kernels")

    def update(self, number: int) -> bool:
        launch = self._launches[number]
        if not isinstance(launch, KernelLaunch):
            return False  # a library's call has become nodes that only it knows
        driver = self._driver
        with driver.current():
            (error,) = driver.api.cuGraphExecKernelNodeSetParams(
                self._executable, self._nodes[number], launch.node_parameters
            )
        if error.name in _REFUSALS:
            return False
        driver.check((error,), "changing an address in a graph")
        return True


def capture(driver: CudaDriver, launches: Sequence[BoundLaunch]) -> CapturedGraph:
    """The graph of these launches, on a stream of its own. The driver's context is current.

    Raises:
        DeviceError: a launch is refused, or may not be captured.
    """
    api = driver.api
    stream = driver.new_stream()
    # Relaxed: memory that a garbage collection frees meanwhile must not spoil the capture.
    mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    driver.check(api.cuStreamBeginCapture(stream.handle, mode), "starting to capture a graph")
    nodes: list[Any] = []
    try:
        for launch in launches:
            launch.launch(stream.handle)
            nodes.append(_last_node(driver, stream.handle))
    except BaseException:
        api.cuStreamEndCapture(stream.handle)  # leaves the capture; what went wrong is on its way
        raise
    graph = driver.check(api.cuStreamEndCapture(stream.handle), "capturing a graph")
    executable = driver.check(api.cuGraphInstantiate(graph, 0), f"a graph of {len(nodes)} launches")
    driver.check(api.cuGraphUpload(executable, stream.handle), "placing a graph on the GPU")
    driver.synchronize(stream.handle)
    return CapturedGraph(driver, graph, executable, list(launches), nodes)


def _last_node(driver: CudaDriver, stream: int) -> Any:
    """The node that the next one in the stream would follow."""
    found = driver.check(driver.api.cuStreamGetCaptureInfo(stream), "capturing a graph")
    dependencies = found[3]
    return dependencies[0] if dependencies else None


def _destroy(driver: CudaDriver, graph: Any, executable: Any) -> None:
    with driver.current():
        driver.api.cuCtxSynchronize()  # it may still be running
        driver.api.cuGraphExecDestroy(executable)
        driver.api.cuGraphDestroy(graph)
