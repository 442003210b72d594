"""What libraries do besides launching, while a stream is being captured into a graph."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_RELAXED = 2
"""CU_STREAM_CAPTURE_MODE_RELAXED."""


@contextmanager
def loading_allowed() -> Iterator[None]:
    """Calls of this thread may load code and allocate although a stream is being captured: that is no part of the
    graph, and the graph does not depend on its order.
    """
    mode = ctypes.c_int(_RELAXED)
    _exchange(mode)
    try:
        yield
    finally:
        _exchange(mode)


def _exchange(mode: ctypes.c_int) -> None:
    """Swap the thread's capture mode with `mode`."""
    _driver().cuThreadExchangeStreamCaptureMode(ctypes.byref(mode))


@cache
def _driver() -> ctypes.CDLL:
    """The driver that the libraries call as well, so it is loaded."""
    return ctypes.CDLL("libcuda.so.1")
