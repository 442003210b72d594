"""Interfaces that programs implement."""

from __future__ import annotations

from typing import Any


class IProfiler:
    """Receives the time of each launch."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Called after a run for every launch; `ms` are milliseconds."""
        raise NotImplementedError("a profiler defines report_layer_time(layer_name, ms)")


class Profiler(IProfiler):
    """Keeps the times in `times`, milliseconds by launch name."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        self.times[layer_name] = self.times.get(layer_name, 0.0) + ms


class IProgressMonitor:
    """Follows a build; step_complete returns False to stop it."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """A phase of `num_steps` steps begins."""
        raise NotImplementedError("a progress monitor defines phase_start")

    def step_complete(self, phase_name: str, step: int) -> bool:
        """A step is done; True to go on."""
        raise NotImplementedError("a progress monitor defines step_complete")

    def phase_finish(self, phase_name: str) -> None:
        """The phase is over."""
        raise NotImplementedError("a progress monitor defines phase_finish")


class IOutputAllocator:
    """Gives memory for outputs whose size only the run tells."""

    def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
        """An address with room for `size` bytes."""
        raise NotImplementedError("an output allocator defines reallocate_output")

    def notify_shape(self, tensor_name: str, shape: Any) -> None:
        """The shape of the output."""
        raise NotImplementedError("an output allocator defines notify_shape")


class IStreamReader:
    """Gives an engine file piece by piece."""

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        raise NotImplementedError("a stream reader defines read(size)")


class IErrorRecorder:
    """Accepted everywhere TensorRT takes one; errors reach the logger."""
