"""`torch_tensorrt.runtime`: settings that programs make; each has no effect, or says what to do instead."""

from __future__ import annotations

import logging
from typing import Any

from engineworks.torch_tensorrt.unsupported import missing

_log = logging.getLogger("engineworks")


class _NoEffect:
    """What a setting without effect returns: Torch-TensorRT's are functions and context managers both."""

    def __enter__(self) -> _NoEffect:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def set_multi_device_safe_mode(mode: bool) -> _NoEffect:
    """Accepted: engines compute on one GPU of a process, and refuse tensors of others."""
    return _NoEffect()


def set_cudagraphs_mode(mode: bool) -> None:
    """Accepted: a call of an engine is one CUDA graph already, and on the CPU one native call."""
    _log.info("set_cudagraphs_mode(%s) has no effect: engines on GPUs are CUDA graphs by themselves.", mode)


def get_cudagraphs_mode() -> bool:
    """False."""
    return False


def get_whole_cudagraphs_mode() -> bool:
    """False."""
    return False


def __getattr__(name: str) -> Any:
    raise missing("runtime.", name)
