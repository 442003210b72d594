"""The TensorRT-shaped face: `import engineworks.tensorrt as trt`. Thin adapters; engines are Engineworks' own."""

from __future__ import annotations

from typing import Any

from engineworks.tensorrt.builder import Builder as Builder
from engineworks.tensorrt.calibrators import IInt8Calibrator as IInt8Calibrator
from engineworks.tensorrt.calibrators import IInt8EntropyCalibrator as IInt8EntropyCalibrator
from engineworks.tensorrt.calibrators import IInt8EntropyCalibrator2 as IInt8EntropyCalibrator2
from engineworks.tensorrt.calibrators import IInt8LegacyCalibrator as IInt8LegacyCalibrator
from engineworks.tensorrt.calibrators import IInt8MinMaxCalibrator as IInt8MinMaxCalibrator
from engineworks.tensorrt.callbacks import IErrorRecorder as IErrorRecorder
from engineworks.tensorrt.callbacks import IOutputAllocator as IOutputAllocator
from engineworks.tensorrt.callbacks import IProfiler as IProfiler
from engineworks.tensorrt.callbacks import IProgressMonitor as IProgressMonitor
from engineworks.tensorrt.callbacks import IStreamReader as IStreamReader
from engineworks.tensorrt.callbacks import Profiler as Profiler
from engineworks.tensorrt.config import IBuilderConfig as IBuilderConfig
from engineworks.tensorrt.config import IOptimizationProfile as IOptimizationProfile
from engineworks.tensorrt.config import ITimingCache as ITimingCache
from engineworks.tensorrt.context import IExecutionContext as IExecutionContext
from engineworks.tensorrt.engine import ICudaEngine as ICudaEngine
from engineworks.tensorrt.enums import BuilderFlag as BuilderFlag
from engineworks.tensorrt.enums import CalibrationAlgoType as CalibrationAlgoType
from engineworks.tensorrt.enums import DataType as DataType
from engineworks.tensorrt.enums import DeviceType as DeviceType
from engineworks.tensorrt.enums import EngineCapability as EngineCapability
from engineworks.tensorrt.enums import ErrorCode as ErrorCode
from engineworks.tensorrt.enums import (
    ExecutionContextAllocationStrategy as ExecutionContextAllocationStrategy,
)
from engineworks.tensorrt.enums import HardwareCompatibilityLevel as HardwareCompatibilityLevel
from engineworks.tensorrt.enums import LayerInformationFormat as LayerInformationFormat
from engineworks.tensorrt.enums import MemoryPoolType as MemoryPoolType
from engineworks.tensorrt.enums import NetworkDefinitionCreationFlag as NetworkDefinitionCreationFlag
from engineworks.tensorrt.enums import OnnxParserFlag as OnnxParserFlag
from engineworks.tensorrt.enums import PreviewFeature as PreviewFeature
from engineworks.tensorrt.enums import ProfilingVerbosity as ProfilingVerbosity
from engineworks.tensorrt.enums import QuantizationFlag as QuantizationFlag
from engineworks.tensorrt.enums import TacticSource as TacticSource
from engineworks.tensorrt.enums import TensorFormat as TensorFormat
from engineworks.tensorrt.enums import TensorIOMode as TensorIOMode
from engineworks.tensorrt.enums import TensorLocation as TensorLocation
from engineworks.tensorrt.inspector import EngineInspector as EngineInspector
from engineworks.tensorrt.layer_types import LayerType as LayerType
from engineworks.tensorrt.layers import ILayer as ILayer
from engineworks.tensorrt.logger import ILogger as ILogger
from engineworks.tensorrt.logger import Logger as Logger
from engineworks.tensorrt.network import INetworkDefinition as INetworkDefinition
from engineworks.tensorrt.parser import OnnxParser as OnnxParser
from engineworks.tensorrt.parser import ParserError as ParserError
from engineworks.tensorrt.runtime import Runtime as Runtime
from engineworks.tensorrt.tensors import ITensor as ITensor
from engineworks.tensorrt.unsupported import absent as _absent
from engineworks.tensorrt.values import Dims as Dims
from engineworks.tensorrt.values import IHostMemory as IHostMemory
from engineworks.tensorrt.values import nptype as nptype
from engineworks.tensorrt.values import volume as volume

__version__ = "10.13.0"
float32, float16, bfloat16, fp8 = DataType.FLOAT, DataType.HALF, DataType.BF16, DataType.FP8
int64, int32, int8, int4, uint8, bool = (
    DataType.INT64, DataType.INT32, DataType.INT8, DataType.INT4, DataType.UINT8, DataType.BOOL,
)  # fmt: skip
Dims2 = Dims3 = Dims4 = DimsHW = Dims


def init_libnvinfer_plugins(logger: Any, namespace: str) -> int:
    """True: there are no plugins to load; every operator is built in."""
    return 1


def __getattr__(name: str) -> Any:
    error = _absent(name)
    raise (
        error
        if error is not None
        else AttributeError(f"module 'engineworks.tensorrt' has no attribute '{name}'")
    )
