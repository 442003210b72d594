"""Enumerations, with TensorRT's names and numbers (public headers and type stubs of versions 8.6 to 11.1)."""

from __future__ import annotations

from enum import IntEnum


class DataType(IntEnum):
    """Element types; double, and integers other than these, have no name here."""

    FLOAT, HALF, INT8, INT32, BOOL, UINT8, FP8, BF16, INT64, INT4, FP4, E8M0 = range(12)


class Severity(IntEnum):
    """How serious a log message is."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class BuilderFlag(IntEnum):
    """What a build may or must do. Precision flags are permissions; others are named in `config`."""

    FP16 = 0
    INT8 = 1
    DEBUG = 2
    GPU_FALLBACK = 3
    REFIT = 4
    DISABLE_TIMING_CACHE = 5
    EDITABLE_TIMING_CACHE = 6
    TF32 = 7
    SPARSE_WEIGHTS = 8
    SAFETY_SCOPE = 9
    OBEY_PRECISION_CONSTRAINTS = 10
    PREFER_PRECISION_CONSTRAINTS = 11
    DIRECT_IO = 12
    REJECT_EMPTY_ALGORITHMS = 13
    VERSION_COMPATIBLE = 14
    EXCLUDE_LEAN_RUNTIME = 15
    FP8 = 16
    ERROR_ON_TIMING_CACHE_MISS = 17
    BF16 = 18
    DISABLE_COMPILATION_CACHE = 19
    STRIP_PLAN = 20
    WEIGHTLESS = 20
    REFIT_IDENTICAL = 21
    WEIGHT_STREAMING = 22
    INT4 = 23
    REFIT_INDIVIDUAL = 24
    STRICT_NANS = 25
    MONITOR_MEMORY = 26
    FP4 = 27
    DISTRIBUTIVE_INDEPENDENCE = 28
    STRICT_TYPES = 29
    ENABLE_TACTIC_HEURISTIC = 30


class NetworkDefinitionCreationFlag(IntEnum):
    """Bits of create_network's flags. Batches are always explicit here."""

    EXPLICIT_BATCH, STRONGLY_TYPED, PREFER_AOT_PYTHON_PLUGINS, PREFER_JIT_PYTHON_PLUGINS = range(4)


class CalibrationAlgoType(IntEnum):
    """How a calibrator's ranges are found."""

    LEGACY_CALIBRATION, ENTROPY_CALIBRATION, ENTROPY_CALIBRATION_2, MINMAX_CALIBRATION = range(4)


class QuantizationFlag(IntEnum):
    """How calibration sees the network: before layers are fused, here always."""

    CALIBRATE_BEFORE_FUSION = 0


class MemoryPoolType(IntEnum):
    """Memories whose use a build may limit."""

    WORKSPACE, DLA_MANAGED_SRAM, DLA_LOCAL_DRAM, DLA_GLOBAL_DRAM, TACTIC_DRAM, TACTIC_SHARED_MEMORY = range(6)


class TensorIOMode(IntEnum):
    """Whether a tensor is read or written by the caller."""

    NONE, INPUT, OUTPUT = range(3)


class TensorLocation(IntEnum):
    """Where the caller's memory lies: HOST addresses for engines on the CPU, DEVICE addresses on a GPU."""

    DEVICE, HOST = range(2)


class TensorFormat(IntEnum):
    """How a tensor lies in the caller's memory: row-major."""

    LINEAR = 0


class ProfilingVerbosity(IntEnum):
    """How much the inspector tells."""

    LAYER_NAMES_ONLY, NONE, DETAILED = range(3)
    DEFAULT = 0
    VERBOSE = 2


class OptProfileSelector(IntEnum):
    """Parts of a profile."""

    MIN, OPT, MAX = range(3)


class EngineCapability(IntEnum):
    """Restrictions of an engine: none here."""

    STANDARD, SAFETY, DLA_STANDALONE = range(3)
    DEFAULT = 0


class HardwareCompatibilityLevel(IntEnum):
    """On which other GPUs an engine must run."""

    NONE, AMPERE_PLUS, SAME_COMPUTE_CAPABILITY = range(3)


class DeviceType(IntEnum):
    """Where layers run."""

    GPU, DLA = range(2)


class LayerInformationFormat(IntEnum):
    """What the inspector writes."""

    ONELINE, JSON = range(2)


class ExecutionContextAllocationStrategy(IntEnum):
    """When a context's memory is allocated; here always when it is made."""

    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


class OnnxParserFlag(IntEnum):
    """Options of the parser; normalisations are always imported as such."""

    NATIVE_INSTANCENORM, ENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA = range(2)


class TacticSource(IntEnum):
    """Libraries whose kernels may compete."""

    CUBLAS, CUBLAS_LT, CUDNN, EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS = range(5)


class PreviewFeature(IntEnum):
    """Features behind a switch."""

    FASTER_DYNAMIC_SHAPES_0805 = 0
    DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805 = 1
    PROFILE_SHARING_0806 = 2
    ALIASED_PLUGIN_IO_10_03 = 3
    RUNTIME_ACTIVATION_RESIZE_10_10 = 4


class ErrorCode(IntEnum):
    """Kinds of parser errors."""

    SUCCESS = 0
    INTERNAL_ERROR = 1
    MEM_ALLOC_FAILED = 2
    MODEL_DESERIALIZE_FAILED = 3
    INVALID_VALUE = 4
    INVALID_GRAPH = 5
    INVALID_NODE = 6
    UNSUPPORTED_GRAPH = 7
    UNSUPPORTED_NODE = 8
