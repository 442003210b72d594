"""One GPU through `cuda.bindings.driver`."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from engineworks.engine.schema import Kernel
from engineworks.errors import DeviceError, EngineMismatch, MissingExtra
from engineworks.runtime.cuda.graphs import CapturedGraph, capture
from engineworks.runtime.cuda.interface import BoundLaunch, GpuFacts, TensorMapWord, Word
from engineworks.runtime.cuda.launches import Function, KernelLaunch, LibraryLaunch
from engineworks.runtime.cuda.tensor_maps import encode
from engineworks.runtime.device import Memory

_PLAIN_SHARED_BYTES = 48 << 10
"""More dynamic shared memory than this has to be asked for (CUDA programming guide, compute capabilities)."""
_PORTABLE_CLUSTER = 8


@functools.cache
def bindings() -> Any:
    """`cuda.bindings.driver`, with the driver initialised.

    Raises:
        MissingExtra: the package is not installed.
        EngineMismatch: this machine has no NVIDIA GPU or no driver for it.
    """
    try:
        # pyrefly: ignore[missing-module-attribute]
        from cuda.bindings import driver
    except ImportError:
        raise MissingExtra("running on a GPU needs cuda-bindings: pip install 'engineworks[cuda]'") from None
    try:
        (error,) = driver.cuInit(0)
    except RuntimeError as missing:  # the bindings load libcuda on the first call
        raise EngineMismatch(
            f"this machine has no NVIDIA GPU, or no driver for it ({missing}).\n"
            f"  Build the model for this machine's CPU: --target cpu."
        ) from None
    if error != 0:
        raise EngineMismatch(
            f"this machine has no NVIDIA GPU that may be used: {_said(driver, error)}.\n"
            f"  See nvidia-smi, and CUDA_VISIBLE_DEVICES; or build for the CPU: --target cpu."
        )
    return driver


def _said(api: Any, error: Any) -> str:
    """'CUDA_ERROR_INVALID_VALUE (invalid argument)'."""
    _, sentence = api.cuGetErrorString(error)
    return f"{error.name} ({sentence.decode() if sentence else 'no description'})"


def checked(api: Any, result: tuple[Any, ...], what: str) -> Any:
    """The value of a driver call. Raises DeviceError: with `what`, and the driver's name and sentence."""
    if result[0] != 0:
        raise DeviceError(f"{what}: {_said(api, result[0])}")
    return result[1] if len(result) == 2 else result[1:]


def default_index() -> int:
    """The GPU of the calling thread's current context, else the first. Raises as `bindings`."""
    api = bindings()
    error, device = api.cuCtxGetDevice()
    return int(device) if error == 0 else 0


@functools.cache
def driver_of(index: int) -> CudaDriver:
    """The GPU number `index`, shared by everything in this process.

    Raises:
        MissingExtra, EngineMismatch: as `bindings`; there is no such GPU.
    """
    return CudaDriver(index)


class _Handle:
    """Something of the driver's that is destroyed with this object."""

    def __init__(self, handle: int, destroy: Callable[[int], object]) -> None:
        self.handle = handle
        self._end = weakref.finalize(self, destroy, handle)
        # pyrefly: ignore[missing-attribute]
        self._end.atexit = False  # the driver frees everything itself, and may already be gone

    def __int__(self) -> int:
        return self.handle


class CudaDriver:
    """See `interface.Driver`."""

    def __init__(self, index: int) -> None:
        self.api = bindings()
        count = checked(self.api, self.api.cuDeviceGetCount(), "counting GPUs")
        if not 0 <= index < count:
            raise EngineMismatch(
                f"there is no GPU {index}: this process sees {count} "
                f"(nvidia-smi lists them, CUDA_VISIBLE_DEVICES hides them)"
            )
        device = checked(self.api, self.api.cuDeviceGet(index), f"GPU {index}")
        self.facts = _facts(self.api, index, device)
        # Never released: other packages of the process use the same context.
        self._context = checked(
            self.api, self.api.cuDevicePrimaryCtxRetain(device), f"a context on {self.facts.name}"
        )
        self._handle = int(self._context)

    def check(self, result: tuple[Any, ...], what: str) -> Any:
        """The value of a driver call, as `checked`."""
        if result[0] != 0:
            raise DeviceError(f"{what} on {self.facts.name}: {_said(self.api, result[0])}")
        return result[1] if len(result) == 2 else result[1:]

    @contextmanager
    def _pushed(self) -> Iterator[None]:
        self.check(self.api.cuCtxPushCurrent(self._context), "entering the context")
        try:
            yield
        finally:
            self.api.cuCtxPopCurrent()

    def current(self) -> Any:
        """A `with` block in which this GPU's context is the calling thread's."""
        error, context = self.api.cuCtxGetCurrent()
        return _HERE if error == 0 and int(context) == self._handle else self._pushed()

    # -- kernels
    def function(self, code: memoryview, kernel: Kernel) -> Any:
        if kernel.library:
            from engineworks.runtime.cuda import libraries

            with self.current():
                return libraries.prepare(kernel.library, kernel.call, self)
        with self.current():
            return self._loaded(bytes(code), kernel)

    def _loaded(self, image: bytes, kernel: Kernel) -> Function:
        api, name = self.api, kernel.symbol
        module = self.check(api.cuModuleLoadData(image), f"loading kernel {name}")
        owner = _Handle(int(module), self._unload)
        found = self.check(api.cuModuleGetFunction(module, kernel.entry.encode()), f"finding kernel {name}")
        attributes = api.CUfunction_attribute
        if kernel.shared_bytes > _PLAIN_SHARED_BYTES:
            self._set(
                found, attributes.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, kernel.shared_bytes, name
            )
            carveout = api.CUshared_carveout.CU_SHAREDMEM_CARVEOUT_MAX_SHARED
            self._set(
                found, attributes.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, int(carveout), name
            )
        if kernel.cluster > _PORTABLE_CLUSTER:
            self._set(found, attributes.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1, name)
        return Function(found, owner, kernel)

    def _unload(self, module: int) -> None:
        with self.current():
            self.api.cuCtxSynchronize()  # its kernels may still be running
            self.api.cuModuleUnload(module)

    def _set(self, function: Any, attribute: Any, value: int, name: str) -> None:
        self.check(
            self.api.cuFuncSetAttribute(function, attribute, value), f"{attribute.name} of kernel {name}"
        )

    def bind(
        self, function: Any, grid: tuple[int, int, int], words: Sequence[Word], *, overlaps: bool
    ) -> BoundLaunch:
        if not isinstance(function, Function):
            return LibraryLaunch(self, function, words)
        return KernelLaunch(self, function, grid, words, overlaps=overlaps)

    def descriptor(self, word: TensorMapWord, swizzle: int) -> Sequence[int]:
        """The 16 u64 words of a tensor map."""
        with self.current():
            return encode(self.api, word, swizzle)

    def capture(self, launches: Sequence[BoundLaunch]) -> CapturedGraph:
        with self.current():
            return capture(self, launches)

    # -- memory
    def allocate(self, size_bytes: int, what: str) -> Memory:
        with self.current():
            error, address = self.api.cuMemAlloc(max(size_bytes, 1))
            if error != 0:
                raise DeviceError(self._no_memory(error, size_bytes, what))
        owner = _Handle(int(address), self._freer(self.api.cuMemFree))
        return Memory(int(address), size_bytes, owner)

    def _no_memory(self, error: Any, size_bytes: int, what: str) -> str:
        text = f"no memory on {self.facts.name} for {what}: {size_bytes:,} bytes are needed"
        if error != self.api.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            return f"{text}: {_said(self.api, error)}"
        state, free, total = self.api.cuMemGetInfo()
        if state == 0:
            text += f", {free:,} of {total:,} are free"
        return f"{text}.\n  Other processes and packages of this one (torch keeps a cache) hold the rest."

    def pinned(self, size_bytes: int) -> np.ndarray:
        import ctypes

        with self.current():
            address = self.check(
                self.api.cuMemHostAlloc(max(size_bytes, 1), 0), f"{size_bytes:,} bytes of pinned host memory"
            )
        memory = (ctypes.c_uint8 * size_bytes).from_address(int(address))
        # pyrefly: ignore[missing-attribute]
        memory.owner = _Handle(int(address), self._freer(self.api.cuMemFreeHost))
        # pyrefly: ignore[no-matching-overload]
        return np.frombuffer(memory, np.uint8)

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        with self.current():
            done = self.api.cuMemcpyHtoDAsync(address, array.ctypes.data, array.nbytes, stream)
            self.check(done, f"copying {array.nbytes:,} bytes to the GPU")

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        with self.current():
            done = self.api.cuMemcpyDtoHAsync(array.ctypes.data, address, array.nbytes, stream)
            self.check(done, f"copying {array.nbytes:,} bytes from the GPU")

    def copy(self, to: int, source: int, size_bytes: int, stream: int) -> None:
        with self.current():
            done = self.api.cuMemcpyDtoDAsync(to, source, size_bytes, stream)
            self.check(done, f"copying {size_bytes:,} bytes on the GPU")

    # -- streams
    def new_stream(self) -> _Handle:
        with self.current():
            flags = self.api.CUstream_flags.CU_STREAM_NON_BLOCKING
            made = self.check(self.api.cuStreamCreate(flags), "a stream")
        return _Handle(int(made), self._freer(self.api.cuStreamDestroy))

    def new_event(self, *, timed: bool = False) -> _Handle:
        flags = self.api.CUevent_flags
        with self.current():
            kind = flags.CU_EVENT_DEFAULT if timed else flags.CU_EVENT_DISABLE_TIMING
            made = self.check(self.api.cuEventCreate(kind), "an event")
        return _Handle(int(made), self._freer(self.api.cuEventDestroy))

    def record(self, event: _Handle, stream: int) -> None:
        with self.current():
            self.check(self.api.cuEventRecord(event.handle, stream), "recording an event")

    def wait(self, stream: int, event: _Handle) -> None:
        with self.current():
            self.check(self.api.cuStreamWaitEvent(stream, event.handle, 0), "waiting for an event")

    def elapsed_s(self, first: _Handle, last: _Handle) -> float:
        self.synchronize_event(last)
        with self.current():
            return 1e-3 * self.check(
                self.api.cuEventElapsedTime(first.handle, last.handle), "reading a timer"
            )

    def synchronize(self, stream: int) -> None:
        with self.current():
            self.check(self.api.cuStreamSynchronize(stream), "running the engine")

    def synchronize_event(self, event: _Handle) -> None:
        with self.current():
            self.check(self.api.cuEventSynchronize(event.handle), "running the engine")

    def _freer(self, call: Callable[[int], tuple[Any, ...]]) -> Callable[[int], object]:
        """What a finalizer calls: errors there have nobody to go to, and follow from one that was raised before."""

        def free(handle: int) -> None:
            with self.current():
                call(handle)

        return free


class _Here:
    """`current()` where the context is already the thread's."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_HERE = _Here()


def _facts(api: Any, index: int, device: Any) -> GpuFacts:
    kinds = api.CUdevice_attribute

    def attribute(name: str) -> int:
        kind = getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}")
        return checked(api, api.cuDeviceGetAttribute(kind, device), f"{name} of GPU {index}")

    version = checked(api, api.cuDriverGetVersion(), "the driver's version")
    name = checked(api, api.cuDeviceGetName(128, device), f"the name of GPU {index}")
    return GpuFacts(
        index,
        name.partition(b"\0")[0].decode(),
        (attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")),
        attribute("MULTIPROCESSOR_COUNT"),
        checked(api, api.cuDeviceTotalMem(device), f"the memory of GPU {index}"),
        (version // 1000, version % 1000 // 10),
    )
