"""save and load, in the formats that Torch-TensorRT names."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engineworks.errors import InvalidInput, Unsupported
from engineworks.torch_tensorrt.export import described, dynamic_axes, examples_of
from engineworks.torch_tensorrt.module import EngineModule, read_script

FORMATS = ("torchscript", "exported_program", "aot_inductor")


def save(
    module: Any,
    file_path: str | os.PathLike[str] = "",
    *,
    output_format: str = "exported_program",
    inputs: Sequence[Any] | None = None,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: Mapping[str, Any] | None = None,
    retrace: bool = True,
    pickle_protocol: int = 2,
    dynamic_shapes: Any = None,
    **options: Any,
) -> None:
    """Write a compiled module.

    Args:
        output_format: 'torchscript' as torch.jit.save, which needs no inputs; 'exported_program' as torch.export.save.
        inputs, arg_inputs, kwarg_inputs: Input or example tensors; an exported program is traced with them, and the
            ranges of Inputs are its own.
        retrace, pickle_protocol: have no effect.
        dynamic_shapes: of the exported program, as torch.export takes it, instead of the ranges of Inputs.
    Raises:
        Unsupported: another format.
        InvalidInput: inputs are missing.
        OSError: the file cannot be written.
    """
    if output_format not in FORMATS[:2]:
        raise Unsupported(
            f"save: output_format='{output_format}' is not there: engines are native code already. "
            f"'torchscript' and 'exported_program' are."
        )
    path = str(file_path)
    if isinstance(module, torch.export.ExportedProgram):
        torch.export.save(module, path)
        return
    if output_format == "torchscript":
        _checked(module).save(path)
        return
    given = inputs if inputs is not None else arg_inputs
    if given is None and not kwarg_inputs:
        raise InvalidInput(
            "save: inputs=[…] must be given to make an exported program; output_format='torchscript' needs none."
        )
    torch.export.save(as_program(module, given or (), kwarg_inputs or {}, dynamic_shapes), path)


def _checked(module: Any) -> Any:
    if not isinstance(module, torch.jit.ScriptModule):
        raise Unsupported(
            f"save: a {type(module).__name__} is no TorchScript. Save what torch_tensorrt.compile returned."
        )
    return module


def as_program(
    module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic_shapes: Any = None
) -> torch.export.ExportedProgram:
    """A compiled module as an ExportedProgram that calls `torch.ops.engineworks.execute_engine`."""
    given, named = described(args), described(kwargs)
    if dynamic_shapes is None:
        axes, named_axes = dynamic_axes(given, named)
        dynamic_shapes = {"args": axes, "kwargs": named_axes} if named else {"args": axes}
    place = module.device if isinstance(module, EngineModule) else None
    examples = examples_of((tuple(given), dict(named)), place)
    return torch.export.export(Traceable(module), *examples, dynamic_shapes=dynamic_shapes, strict=False)


class Traceable(torch.nn.Module):
    """A TorchScript module of engines as an ordinary one, so that torch.export sees the operators in it."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns."""
        return self.module(*args, **kwargs)


def load(
    file_path: str | os.PathLike[str] = "", extra_files: dict[str, Any] | None = None, **options: Any
) -> Any:
    """The compiled module in a file: an EngineModule of a TorchScript file, an ExportedProgram of a .pt2 file.

    Raises:
        EngineError: in its kinds: an engine in it is damaged, too new, or built for other hardware.
        InvalidInput: a file of another kind.
        OSError: the file cannot be read.
    """
    path = Path(file_path)
    if not path.is_file():
        raise FileNotFoundError(f"load: there is no file '{path}'")
    try:
        return read_script(str(path), extra_files=extra_files)
    except RuntimeError as as_script:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.export.load(str(path), extra_files=extra_files)
        except (RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InvalidInput(
                f"load: '{path}' is neither TorchScript ({as_script}) nor an exported program ({error})"
            ) from None
