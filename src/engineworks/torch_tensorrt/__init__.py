"""The Torch-TensorRT-shaped face: `import engineworks.torch_tensorrt as torch_tensorrt`. Engines are Engineworks' own.

Importing it registers the operator that compiled modules call, so that torch.jit.load reads them, and the backend
"engineworks" of torch.compile. Everything else is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engineworks.torch_tensorrt.torch_package import require_torch

require_torch()

from engineworks.torch_tensorrt import backend_names as _backend_names  # noqa: E402
from engineworks.torch_tensorrt.operator import execute_engine as execute_engine  # noqa: E402
from engineworks.torch_tensorrt.unsupported import missing as _missing  # noqa: E402

if TYPE_CHECKING:
    from engineworks.torch_tensorrt import dynamo as dynamo
    from engineworks.torch_tensorrt import logging as logging
    from engineworks.torch_tensorrt import runtime as runtime
    from engineworks.torch_tensorrt import ts as ts
    from engineworks.torch_tensorrt.compiler import compile as compile
    from engineworks.torch_tensorrt.compiler import (
        convert_method_to_trt_engine as convert_method_to_trt_engine,
    )
    from engineworks.torch_tensorrt.compiler import embed_engine as embed_engine
    from engineworks.torch_tensorrt.device import Device as Device
    from engineworks.torch_tensorrt.enums import DeviceType as DeviceType
    from engineworks.torch_tensorrt.enums import EngineCapability as EngineCapability
    from engineworks.torch_tensorrt.enums import Platform as Platform
    from engineworks.torch_tensorrt.enums import dtype as dtype
    from engineworks.torch_tensorrt.enums import memory_format as memory_format
    from engineworks.torch_tensorrt.input import Input as Input
    from engineworks.torch_tensorrt.module import EngineModule as EngineModule
    from engineworks.torch_tensorrt.plan import Plan as Plan
    from engineworks.torch_tensorrt.runtime import set_multi_device_safe_mode as set_multi_device_safe_mode
    from engineworks.torch_tensorrt.saving import load as load
    from engineworks.torch_tensorrt.saving import save as save
    from engineworks.torch_tensorrt.settings import CompilationSettings as CompilationSettings

__version__ = "2.11.0"
"""The version of Torch-TensorRT whose names these are."""

_HOMES = {
    "compile": "compiler", "convert_method_to_trt_engine": "compiler", "embed_engine": "compiler",
    "Device": "device", "DeviceType": "enums", "EngineCapability": "enums", "Platform": "enums", "dtype": "enums",
    "memory_format": "enums", "TensorFormat": "enums", "Input": "input", "EngineModule": "module", "Plan": "plan",
    "set_multi_device_safe_mode": "runtime", "save": "saving", "load": "saving", "CompilationSettings": "settings",
}  # fmt: skip
_ROOMS = ("dynamo", "logging", "runtime", "ts")
_SPELLED = {"TensorFormat": "memory_format"}
"""Older names."""

_backend_names.register()


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), _SPELLED.get(name, name))
    raise _missing("", name)
