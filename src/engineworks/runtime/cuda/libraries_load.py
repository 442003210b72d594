"""Finding NVIDIA's shared libraries and loading them, once a process."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

from engineworks.errors import EngineMismatch

NAMES = {
    "cublaslt": ("libcublasLt.so.13", "libcublasLt.so.12"),
    "cudnn": ("libcudnn.so.9",),
    "nvrtc": ("libnvrtc.so.13", "libnvrtc.so.12"),
}
"""File names by library, newest first. nvrtc is cuDNN's: some of its engines are compiled when a plan is made."""
NEEDS = {"cudnn": ("cublaslt", "nvrtc")}
"""What a library opens by name itself when it needs it: found more surely when it is there already."""
FOLDERS = ("nvidia/cu13/lib", "nvidia/cublas/lib", "nvidia/cudnn/lib", "nvidia/cuda_nvrtc/lib")
"""Where NVIDIA's packages put them, under each folder of sys.path."""


@cache
def load(library: str) -> ctypes.CDLL:
    """The library 'cublaslt' or 'cudnn': one that this process has loaded, else of a package, else of the system.

    Raises:
        EngineMismatch: there is none.
    """
    for needed in NEEDS.get(library, ()):
        _open(needed)
    found = _open(library)
    if found is None:
        raise EngineMismatch(
            f"the engine calls {library}, and none of {', '.join(NAMES[library])} can be loaded.\n"
            f"  Searched: what this process has loaded, the packages' folders {', '.join(FOLDERS)}, the system.\n"
            f"  Install NVIDIA's package (nvidia-cublas, nvidia-cudnn-cu13), or build with\n"
            f"  tactic_sources that leave {library} out."
        )
    return found


def _open(library: str) -> ctypes.CDLL | None:
    names = NAMES[library]
    for name in names:
        if (loaded := _try(name, os.RTLD_NOW | os.RTLD_NOLOAD)) is not None:
            return loaded
    paths = [Path(root, folder, name) for root in sys.path for folder in FOLDERS for name in names]
    present = [str(path) for path in paths if path.exists()]
    return next((lib for p in (*present, *names) if (lib := _try(p, os.RTLD_NOW | os.RTLD_GLOBAL))), None)


def _try(path: str, mode: int) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(path, mode=mode)
    except OSError:
        return None  # the next place
