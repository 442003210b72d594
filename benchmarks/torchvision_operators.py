"""torchvision's Python asks for operators of its native library when it is imported; networks here use none of them."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch

_LIBRARIES: list[torch.library.Library] = []
"""Kept: what a library declares goes with it."""


@functools.cache
def declare_torchvision_operators() -> None:
    """Load the native library, or declare what is asked for where it does not load; once a process."""
    found = importlib.util.find_spec("torchvision")
    folder = Path(found.origin).parent if found and found.origin else Path()
    try:
        for path in folder.glob("_C*.so"):
            torch.ops.load_library(path)
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
