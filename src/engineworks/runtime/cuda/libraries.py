"""Calls of NVIDIA's libraries in the place of kernels: made ready once for a device, then launched on streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from msgspec import DecodeError

from engineworks.engine.library_calls import version_of
from engineworks.errors import CorruptEngine, EngineMismatch
from engineworks.runtime.cuda import cublaslt, cudnn
from engineworks.runtime.cuda.interface import Driver


class Prepared(Protocol):
    """One call, on one device; any thread may use it, and any number of streams."""

    def ready(self, words: Sequence[int]) -> None:
        """Choose algorithms and make plans for these words, which the first launch with their sizes does otherwise.

        Raises:
            DeviceError: the library cannot compute this.
        """
        ...

    def launch(self, stream: int, words: Sequence[int]) -> None:
        """Queue the work on a stream (CUstream as an integer) of the current context; words as the call says.

        Raises:
            DeviceError: the library cannot compute this, or the launch failed.
        """
        ...

    def pinned(self, words: Sequence[int]) -> str:
        """The call's text with what is chosen for these words written down: the version of the library, and the plan
        of one that writes plans. An engine with it is loaded faster, and by that version only.
        """
        ...


_PREPARE: Mapping[str, Callable[[str, int], Prepared]] = MappingProxyType(
    {"cublaslt": cublaslt.prepare, "cudnn": cudnn.prepare}
)
_VERSION: Mapping[str, Callable[[], int]] = MappingProxyType(
    {"cublaslt": cublaslt.version, "cudnn": cudnn.version}
)


def require(library: str, call: str) -> None:
    """Check that a call could be prepared here, without a GPU.

    Args:
        library: 'cublaslt' or 'cudnn'.
        call: JSON text of a record of `engine/library_calls.py`.
    Raises:
        EngineMismatch: the library is missing, or not of the version that the call was tuned with.
        CorruptEngine: the text is no call of a library that we know.
    """
    if library not in _PREPARE:
        raise CorruptEngine(f"a kernel calls the library '{library}'; there are {', '.join(_PREPARE)}")
    try:
        wanted = version_of(call)
    except DecodeError as error:
        raise CorruptEngine(f"a call of {library} cannot be read: {error}") from None
    here = version(library)
    if wanted not in (0, here):
        raise EngineMismatch(
            f"the engine was tuned with {library} {wanted}; here is {here}.\n"
            f"  Install the version it was tuned with, or build it again."
        )


def prepare(library: str, call: str, driver: Driver) -> Prepared:
    """The call of `schema.Kernel.call` on a GPU, whose primary context is this thread's current one, here and when the
    call is launched. Arguments and errors as those of `require`.
    """
    require(library, call)
    return _PREPARE[library](call, driver.facts.index)


def version(library: str) -> int:
    """The version of the library here, as it counts itself: 130000 for cuBLASLt 13.0.0, 91500 for cuDNN 9.15.0.

    Raises:
        EngineMismatch: it is missing.
    """
    return _VERSION[library]()
