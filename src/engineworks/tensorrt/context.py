"""IExecutionContext: addresses of memory in, results there: the host's, or the GPU's that the engine runs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engineworks.core.expression import evaluate
from engineworks.errors import InvalidInput, RunError
from engineworks.runtime.shapes import ShapeSolver
from engineworks.tensorrt.enums import TensorIOMode
from engineworks.tensorrt.memory import Memory, memory_of
from engineworks.tensorrt.unsupported import Face
from engineworks.tensorrt.values import Dims, nptype

if TYPE_CHECKING:
    from engineworks.runtime.engine import Engine
    from engineworks.tensorrt.engine import ICudaEngine


class _Shapes(Face):
    """Shapes of one call."""

    engine: ICudaEngine
    _core: Engine
    _profile: int
    _shapes: dict[str, Dims]

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        """False when the engine takes no such input or no such shape."""
        if self.engine.get_tensor_mode(name) is not TensorIOMode.INPUT:
            return False
        ranges = self.engine.get_tensor_profile_shape(name, self._profile)
        given = Dims(shape)
        fits = len(given) == len(ranges[0]) and all(
            a <= d <= b for a, d, b in zip(ranges[0], given, ranges[2], strict=True)
        )
        if fits:
            self._shapes[name] = given
        return fits

    def infer_shapes(self) -> list[str]:
        """Inputs whose shape is still to be set."""
        return [t.name for t in self._core.inputs if -1 in self.get_tensor_shape(t.name)]

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self.infer_shapes()

    all_shape_inputs_specified = True

    def get_tensor_shape(self, name: str) -> Dims:
        """Sizes for the input shapes set so far; -1 where they are not known yet."""
        if self.engine.get_tensor_mode(name) is TensorIOMode.INPUT:
            return self._shapes.get(name, self.engine.get_tensor_shape(name))
        stated = self.engine.get_tensor_shape(name)
        if -1 not in stated or self.infer_shapes():
            return stated
        data = {s.name for s in self._core.manifest.symbols if s.is_data_dependent}
        values = {n: v for n, v in self._solution().items() if n not in data}
        return Dims(_size(d, values) for d in self.engine._tensors[name].dims)

    def _solution(self) -> dict[str, int]:
        manifest = self._core.manifest
        profile = manifest.profiles[self._profile] if manifest.profiles else None
        return dict(
            ShapeSolver(manifest, profile)
            .solve([self.get_tensor_shape(t.name) for t in manifest.inputs])
            .values
        )

    def get_tensor_strides(self, name: str) -> Dims:
        """Elements between neighbours along each axis."""
        shape = self.get_tensor_shape(name)
        return Dims(int(np.prod(shape[k + 1 :], dtype=np.int64)) for k in range(len(shape)))


def _size(dim: int | str, values: dict[str, int]) -> int:
    try:
        return evaluate(dim, values)
    except (InvalidInput, KeyError, ValueError):
        return -1


class _BindingShapes(_Shapes):
    """Shapes by binding number."""

    def set_binding_shape(self, binding: int, shape: Sequence[int]) -> bool:
        return self.set_input_shape(self.engine.get_tensor_name(binding), shape)

    def get_binding_shape(self, binding: int) -> Dims:
        return self.get_tensor_shape(self.engine.get_tensor_name(binding))

    def get_strides(self, binding: int) -> Dims:
        return self.get_tensor_strides(self.engine.get_tensor_name(binding))


class _Memory(_BindingShapes):
    """Addresses of the caller's memory as arrays."""

    _addresses: dict[str, int]
    _views: dict[str, tuple[int, Dims, Any]]
    _memory: Memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self.engine.get_tensor_mode(name) is TensorIOMode.NONE:
            return False
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    set_input_tensor_address = set_output_tensor_address = set_tensor_address

    def _view(self, name: str, shape: Dims) -> Any:
        address = self._addresses.get(name, 0)
        if not address:
            raise RunError(
                f"'{name}' has no address; set_tensor_address('{name}', {self._memory.example}) gives it one"
            )
        cached = self._views.get(name)
        if cached is None or cached[:2] != (address, shape):
            kind = np.dtype(nptype(self.engine.get_tensor_dtype(name)))
            cached = self._views[name] = address, shape, self._memory.view(address, shape, kind)
        return cached[2]


class _Outputs(_Memory):
    """Outputs whose size only the run tells: an IOutputAllocator gives the memory."""

    _allocators: dict[str, Any]

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        self._allocators[name] = output_allocator
        return True

    def get_output_allocator(self, name: str) -> Any:
        return self._allocators.get(name)

    def get_max_output_size(self, name: str) -> int:
        """Bytes that an output needs at most for the shapes set; -1 when they are not all set."""
        if self.infer_shapes():
            return -1
        values = self._solution()
        count = int(np.prod([evaluate(d, values) for d in self.engine._tensors[name].dims], dtype=np.int64))
        return count * self.engine.get_tensor_bytes_per_component(name)

    def _deliver(self, name: str, array: Any, stream: int) -> None:
        """Copy an output to where the program wants it."""
        allocator = self._allocators.get(name)
        if allocator is not None:
            place = getattr(allocator, "reallocate_output_async", None) or allocator.reallocate_output
            extra = (stream,) if place.__name__.endswith("async") else ()
            self._addresses[name] = int(
                place(name, self._addresses.get(name, 0), max(1, array.nbytes), 64, *extra)
            )
            allocator.notify_shape(name, Dims(array.shape))
        self._memory.copy(self._view(name, Dims(array.shape)), array, stream)


class IExecutionContext(_Outputs):
    """One state of execution.

    On a GPU addresses are the device's, work goes to the caller's stream, and calls return before it is done. Streams
    mean nothing on a CPU: addresses are the host's, and a call returns when its work is done.
    """

    def __init__(self, engine: ICudaEngine, core: Engine) -> None:
        self.engine, self._core = engine, core
        self._profile = 0
        self._context = core.context()
        self._shapes = {}
        self._addresses = {}
        self._views = {}
        self._memory = memory_of(core)
        self._bound: list[Any] = []
        self._delivered: dict[str, Any] = {}
        self._allocators = {}
        self.name = ""
        self.profiler: Any = None
        self.debug_sync = False
        self.enqueue_emits_profile = True
        self.error_recorder: Any = None

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @active_optimization_profile.setter
    def active_optimization_profile(self, number: int) -> None:
        self._context = self._core.context(number)
        self._profile = int(number)
        self._bound = []
        self._shapes.clear()

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return False
        self.active_optimization_profile = profile_index
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Run on the addresses set by name, on a GPU in this stream. Raises RunError when one is missing."""
        inputs = {t.name: self._view(t.name, self.get_tensor_shape(t.name)) for t in self._core.inputs}
        if self.profiler is not None:
            self._report(inputs)
        sizes = {t.name: self.get_tensor_shape(t.name) for t in self._core.outputs}
        if self._allocators or any(-1 in s for s in sizes.values()):
            # Kept until the next call: a GPU may still be copying from them.
            self._delivered = self._memory.run(self._context, stream_handle, inputs)
            self._bound = []
            for name, array in self._delivered.items():
                self._deliver(name, array, stream_handle)
            return True
        views = inputs | {name: self._view(name, shape) for name, shape in sizes.items()}
        if self.profiler is not None or not _are_same(self._bound, list(views.values())):
            self._context.bind(**views)
            self._bound = list(views.values())
        self._memory.run(self._context, stream_handle)
        return True

    def execute_v2(self, bindings: Sequence[int]) -> bool:
        """Run on addresses in binding order, inputs, then outputs; returns when the work is done."""
        self.execute_async_v2(bindings, 0)
        self._memory.wait(0)
        return True

    def execute_async_v2(
        self, bindings: Sequence[int], stream_handle: int, input_consumed: Any = None
    ) -> bool:
        for name, address in zip(self.engine, bindings, strict=True):
            self._addresses[name] = int(address)
        return self.execute_async_v3(stream_handle)

    def report_to_profiler(self) -> bool:
        return self.profiler is not None

    def _report(self, inputs: dict[str, Any]) -> None:
        for record in self._context.profile(1, **inputs):
            self.profiler.report_layer_time(record.name, record.duration_s * 1e3)


def _are_same(bound: list[Any], views: list[Any]) -> bool:
    """The views of the call before: the context still has them."""
    return len(bound) == len(views) and all(a is b for a, b in zip(bound, views, strict=True))
