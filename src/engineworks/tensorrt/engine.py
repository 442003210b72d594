"""ICudaEngine, by tensor names and by binding numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engineworks.engine.schema import Tensor
from engineworks.tensorrt.enums import (
    DataType,
    EngineCapability,
    ExecutionContextAllocationStrategy,
    HardwareCompatibilityLevel,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
)
from engineworks.tensorrt.memory import memory_of
from engineworks.tensorrt.unsupported import Face
from engineworks.tensorrt.values import Dims, IHostMemory, data_type, size_bits

if TYPE_CHECKING:
    from engineworks.runtime.engine import Engine
    from engineworks.tensorrt.context import IExecutionContext
    from engineworks.tensorrt.inspector import EngineInspector


class _NamedTensors(Face):
    """Inputs and outputs by name."""

    _engine: Engine
    _tensors: dict[str, Tensor]

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_shape(self, name: str) -> Dims:
        """Sizes, -1 where they change from call to call."""
        return Dims(d if isinstance(d, int) else -1 for d in self._tensors[name].dims)

    def get_tensor_dtype(self, name: str) -> DataType:
        return data_type(self._tensors[name].dtype)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        if name not in self._tensors:
            return TensorIOMode.NONE
        is_input = any(t.name == name for t in self._engine.inputs)
        return TensorIOMode.INPUT if is_input else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        """Where the addresses that contexts take are: on the GPU, for engines that run there."""
        return memory_of(self._engine).location

    def is_shape_inference_io(self, name: str) -> bool:
        return False


class _Layouts(_NamedTensors):
    """How inputs and outputs lie in memory: row-major."""

    def get_tensor_format(self, name: str, profile_index: int = 0) -> TensorFormat:
        return TensorFormat.LINEAR

    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        return f"Row major linear {self.get_tensor_dtype(name).name} format (kLINEAR)"

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        return size_bits(self.get_tensor_dtype(name)) // 8

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        return 1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        return -1


class _Profiles(_NamedTensors):
    """Ranges of sizes."""

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._engine.manifest.profiles))

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        """Smallest, typical and largest shape of an input. Raises IndexError for a profile that is not there."""
        if not 0 <= profile_index < self.num_optimization_profiles:
            raise IndexError(
                f"there is no profile {profile_index}; the engine has {self.num_optimization_profiles}"
            )
        return [
            Dims(s)
            for s in zip(*[self._range(d, profile_index) for d in self._tensors[name].dims], strict=True)
        ] or [Dims()] * 3

    def _range(self, dim: int | str, profile_index: int) -> tuple[int, int, int]:
        manifest = self._engine.manifest
        if isinstance(dim, int):
            return dim, dim, dim
        if manifest.profiles and dim in manifest.profiles[profile_index].ranges:
            given = manifest.profiles[profile_index].ranges[dim]
            return given.min, given.opt, given.max
        symbol = next(s for s in manifest.symbols if s.name == dim)
        return symbol.min, symbol.opt, int(symbol.max)


class _Bindings(_Layouts, _Profiles):
    """The interface by numbers that programs from before TensorRT 10 use: inputs first, then outputs."""

    has_implicit_batch_dimension = False
    max_batch_size = 1

    @property
    def num_bindings(self) -> int:
        return self.num_io_tensors

    def get_binding_name(self, index: int) -> str:
        return self.get_tensor_name(index)

    def get_binding_index(self, name: str) -> int:
        """-1 when there is no such tensor."""
        return list(self._tensors).index(name) if name in self._tensors else -1

    def _named(self, binding: int | str) -> str:
        return binding if isinstance(binding, str) else self.get_tensor_name(binding)

    def get_binding_shape(self, binding: int | str) -> Dims:
        return self.get_tensor_shape(self._named(binding))

    def get_binding_dtype(self, binding: int | str) -> DataType:
        return self.get_tensor_dtype(self._named(binding))

    def binding_is_input(self, binding: int | str) -> bool:
        return self.get_tensor_mode(self._named(binding)) is TensorIOMode.INPUT

    def is_shape_binding(self, binding: int) -> bool:
        return False

    def is_execution_binding(self, binding: int) -> bool:
        return True

    def get_location(self, binding: int | str) -> TensorLocation:
        return self.get_tensor_location(self._named(binding))

    def get_profile_shape(self, profile_index: int, binding: int | str) -> list[Dims]:
        return self.get_tensor_profile_shape(self._named(binding), profile_index)

    def __len__(self) -> int:
        return self.num_bindings

    def __getitem__(self, binding: int | str) -> int | str:
        return self.get_binding_index(binding) if isinstance(binding, str) else self.get_binding_name(binding)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)


class ICudaEngine(_Bindings):
    """A loaded engine."""

    refittable = False
    engine_capability = EngineCapability.STANDARD
    num_aux_streams = streamable_weights_size = tactic_sources = 0

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tensors = {t.name: t for t in (*engine.inputs, *engine.outputs)}
        self.error_recorder: Any = None

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def hardware_compatibility_level(self) -> HardwareCompatibilityLevel:
        levels = {
            "ampere_plus": HardwareCompatibilityLevel.AMPERE_PLUS,
            "same_compute_capability": HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
        }
        return levels.get(self._engine.manifest.target.compatible, HardwareCompatibilityLevel.NONE)

    @property
    def num_layers(self) -> int:
        return sum(r.op == "call" for r in self._engine.manifest.program)

    @property
    def device_memory_size(self) -> int:
        """Bytes of a context's activations."""
        return self._engine.manifest.arena_bytes

    device_memory_size_v2 = device_memory_size

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext:
        from engineworks.tensorrt.context import IExecutionContext

        return IExecutionContext(self, self._engine)

    def create_engine_inspector(self) -> EngineInspector:
        from engineworks.tensorrt.inspector import EngineInspector

        return EngineInspector(self._engine)

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._engine.serialize())
