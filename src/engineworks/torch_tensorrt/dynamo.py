"""`torch_tensorrt.dynamo`: compile and trace for exported programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engineworks.torch_tensorrt.compiler import compile as _compile
from engineworks.torch_tensorrt.compiler import convert_exported_program_to_serialized_trt_engine
from engineworks.torch_tensorrt.export import described, export
from engineworks.torch_tensorrt.settings import CompilationSettings
from engineworks.torch_tensorrt.unsupported import missing

__all__ = ["CompilationSettings", "compile", "convert_exported_program_to_serialized_trt_engine", "trace"]


def compile(
    exported_program: Any,
    inputs: Sequence[Any] | None = None,
    *,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """As `torch_tensorrt.compile`, for a torch.export.ExportedProgram."""
    return _compile(
        exported_program, inputs=inputs, arg_inputs=arg_inputs, kwarg_inputs=kwarg_inputs, **options
    )


def trace(
    mod: Any,
    inputs: Sequence[Any] | None = None,
    *,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The torch.export.ExportedProgram of a module, with the axes of Inputs that may change dynamic.

    Raises:
        InvalidModel: torch.export fails.
    """
    given = inputs if inputs is not None else arg_inputs or ()
    return export(mod, described(given), described(kwarg_inputs or {}))[0]


def __getattr__(name: str) -> Any:
    raise missing("dynamo.", name)
