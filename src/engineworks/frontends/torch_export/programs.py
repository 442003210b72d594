"""Telling torch's models from others without importing torch for the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from engineworks.errors import InvalidModel, MissingExtra


def is_module(model: object) -> bool:
    """True for a torch.nn.Module. A program that never imported torch has none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def is_program(model: object) -> bool:
    """True for a torch.export.ExportedProgram."""
    exported = sys.modules.get("torch.export")
    return exported is not None and isinstance(model, exported.ExportedProgram)


def lies_on_gpu(model: object) -> bool:
    """True for a torch.nn.Module or ExportedProgram with a parameter on a CUDA device."""
    if is_module(model):
        return any(p.is_cuda for p in model.parameters())  # type: ignore[attr-defined]
    if is_program(model):
        return any(t.is_cuda for t in model.state_dict.values())  # type: ignore[attr-defined]
    return False


def is_program_file(model: object) -> bool:
    """True for the path of a file that torch.export.save wrote, by its suffix."""
    return isinstance(model, (str, os.PathLike)) and Path(model).suffix == ".pt2"


def load_program(path: str | os.PathLike[str]) -> Any:
    """The ExportedProgram in a .pt2 file.

    Raises:
        InvalidModel: there is no such file, or torch cannot read it; the sentence has torch's own words.
        MissingExtra: torch is not installed.
    """
    try:
        from torch.export import load
    except ImportError as error:
        raise MissingExtra(
            f"'{path}' is a program of PyTorch's, and reading it needs torch: pip install torch"
        ) from error
    if not Path(path).is_file():
        raise InvalidModel(f"there is no file '{path}'. Check the path; it is relative to {Path.cwd()}.")
    try:
        return load(path)
    except Exception as error:  # torch reads archives, JSON and pickles, each with errors of its own
        raise InvalidModel(f"'{path}' is no exported program that this torch can read: {error}") from error
