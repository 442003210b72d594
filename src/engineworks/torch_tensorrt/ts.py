"""`torch_tensorrt.ts`: the names of the TorchScript front end. Modules are exported, not scripted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engineworks.torch_tensorrt.compiler import compile as _compile
from engineworks.torch_tensorrt.compiler import convert_method_to_trt_engine
from engineworks.torch_tensorrt.unsupported import missing

__all__ = ["compile", "convert_method_to_trt_engine"]


def compile(module: Any, inputs: Sequence[Any] | None = None, **options: Any) -> Any:
    """As `torch_tensorrt.compile`."""
    return _compile(module, inputs=inputs, **options)


def __getattr__(name: str) -> Any:
    raise missing("ts.", name)
