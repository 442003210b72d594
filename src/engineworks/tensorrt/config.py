"""IBuilderConfig, optimization profiles and timing caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engineworks.tensorrt.calibrators import IInt8Calibrator, require_ready
from engineworks.tensorrt.enums import (
    BuilderFlag,
    DeviceType,
    EngineCapability,
    HardwareCompatibilityLevel,
    MemoryPoolType,
    PreviewFeature,
    ProfilingVerbosity,
    QuantizationFlag,
    TacticSource,
)
from engineworks.tensorrt.unsupported import Face
from engineworks.tensorrt.values import Dims, IHostMemory


class IOptimizationProfile(Face):
    """Smallest, typical and largest shape of each input that changes size."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Dims, Dims, Dims]] = {}
        self.values: dict[str, tuple[list[int], list[int], list[int]]] = {}
        self.extra_memory_target = 1.0

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        """Raises ValueError when a size decreases from min to opt to max."""
        made = Dims(min), Dims(opt), Dims(max)
        if len({len(d) for d in made}) != 1 or any(not a <= b <= c for a, b, c in zip(*made, strict=True)):
            raise ValueError(
                f"profile of '{input}': {made[0]} <= {made[1]} <= {made[2]} does not hold in every axis"
            )
        self.shapes[input] = made

    def get_shape(self, input: str) -> list[Dims]:
        return list(self.shapes.get(input, ()))

    def set_shape_input(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self.values[input] = list(min), list(opt), list(max)

    def get_shape_input(self, input: str) -> list[list[int]]:
        return list(self.values.get(input, ()))

    def __bool__(self) -> bool:
        return bool(self.shapes)


class ITimingCache(Face):
    """Measurements of kernels, as the text lines of Engineworks' own timing cache."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.data)

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        """Add the lines of another cache; entries name the machine they hold for, so nothing can mismatch."""
        lines = dict.fromkeys([*self.data.splitlines(), *input_cache.data.splitlines()])
        self.data = b"".join(line + b"\n" for line in lines)
        return True

    def reset(self) -> bool:
        self.data = b""
        return True


class _Flags(Face):
    """Flags of a build."""

    flags: int

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: BuilderFlag) -> bool:
        return bool(self.flags >> int(flag) & 1)


class _Quantization(Face):
    """What INT8 is calibrated with, and at which shapes."""

    quantization_flags: int
    _calibrator: IInt8Calibrator | None
    _calibration_profile: IOptimizationProfile | None

    @property
    def int8_calibrator(self) -> IInt8Calibrator | None:
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, calibrator: IInt8Calibrator | None) -> None:
        """Raises TypeError: not a calibrator, or one whose __init__ does not call that of its base."""
        if calibrator is not None:
            require_ready(calibrator)
        self._calibrator = calibrator

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        """The batches of the calibrator have the typical shapes of this profile, not of the first one."""
        self._calibration_profile = profile if profile else None
        return bool(profile)

    def get_calibration_profile(self) -> IOptimizationProfile | None:
        return self._calibration_profile

    def set_quantization_flag(self, flag: QuantizationFlag) -> None:
        self.quantization_flags |= 1 << int(flag)

    def clear_quantization_flag(self, flag: QuantizationFlag) -> None:
        self.quantization_flags &= ~(1 << int(flag))

    def get_quantization_flag(self, flag: QuantizationFlag) -> bool:
        return bool(self.quantization_flags >> int(flag) & 1)


class _Memory(Face):
    """Limits of memory, in bytes; 0: none. They are kept for the program, and engines report what they use."""

    _limits: dict[MemoryPoolType, int]

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._limits[MemoryPoolType(pool)] = int(pool_size)

    def get_memory_pool_limit(self, pool: MemoryPoolType) -> int:
        return self._limits.get(MemoryPoolType(pool), 0)

    @property
    def max_workspace_size(self) -> int:
        return self.get_memory_pool_limit(MemoryPoolType.WORKSPACE)

    @max_workspace_size.setter
    def max_workspace_size(self, size: int) -> None:
        self.set_memory_pool_limit(MemoryPoolType.WORKSPACE, size)


class _Sources(Face):
    """Where kernels may come from, beside those that are generated. Only for GPUs there are libraries."""

    tactic_sources: int

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """A bit for each TacticSource: CUBLAS and CUBLAS_LT are cublasLt; the last two mean what is always there."""
        self.tactic_sources = int(tactic_sources)
        return True

    def get_tactic_sources(self) -> int:
        return self.tactic_sources

    def set_preview_feature(self, feature: PreviewFeature, enable: bool) -> None:
        self._preview = {**getattr(self, "_preview", {}), PreviewFeature(feature): enable}

    def get_preview_feature(self, feature: PreviewFeature) -> bool:
        return bool(getattr(self, "_preview", {}).get(PreviewFeature(feature), False))


class IBuilderConfig(_Flags, _Quantization, _Memory, _Sources):
    """How to build. Attributes that concern GPUs alone are kept and have no effect on engines for the CPU.

    Attributes:
        target: 'cpu', 'cuda' (this machine's GPU), 'cuda:sm_90', … as BuildConfig has it; not TensorRT's.
    """

    def __init__(self, target: str = "cpu") -> None:
        self.target = target
        self.flags = 1 << BuilderFlag.TF32
        self.tactic_sources = sum(1 << source for source in TacticSource)
        self._limits = {}
        self._preview: dict[PreviewFeature, bool] = {}
        self.profiles: list[IOptimizationProfile] = []
        self.timing_cache: ITimingCache | None = None
        self.builder_optimization_level = 3
        self.avg_timing_iterations = self.min_timing_iterations = 1
        self.max_num_tactics = -1
        self.max_aux_streams = 0
        self.profile_stream = 0
        self.progress_monitor: Any = None  # the program's own object with TensorRT's callbacks
        self.quantization_flags = 0
        self._calibrator = self._calibration_profile = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.engine_capability = EngineCapability.STANDARD
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1
        self.plugins_to_serialize: list[str] = []

    @property
    def num_optimization_profiles(self) -> int:
        return len(self.profiles)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        """Its number, or -1 when it sets no shape."""
        if not profile:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self.timing_cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.timing_cache

    def clear(self) -> None:
        self.__init__(self.target)  # type: ignore[misc]

    reset = clear
