"""Thread pools of this process, and native runs on them.

The pool's code lives in engine images (codegen/llvm/pool.py, whose docstring gives the two structs). Pools
are shared by all engines with the same runner ABI and thread count, so many contexts do not start many
threads. A run borrows a pool for its duration; when all pools of a size are busy, another is started while
cores are left, else the run waits.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from pathlib import Path

import numpy as np

from engineworks.errors import DeviceError
from engineworks.runtime.cpu.loader import Image

RUNNER_ABI = 1
"""The version of the structs below; an image says which it speaks (`Manifest.runner`)."""
SYMBOLS = ("pool_start", "pool_stop", "program_run", "program_run_profiled")
MAX_THREADS = 256

_THREADS, _SPIN, _SYSCALL, _CREATE, _JOIN, _WORKERS, _WORKER_BYTES = 448, 456, 488, 496, 504, 512, 32

SPIN_CYCLES = 40_000
"""How long a waiting thread spins before it sleeps: 13 to 20 µs.

Measured on two cores, ten records of 13 µs each: with idle cores 25,000 to 200,000 cycles are equally fast,
10,000 takes 2.4 times as long (every gap ends in a sleep); beside one busy process 100,000 takes twice as long as
25,000.
"""


class Pool:
    """Started threads. Never stopped while the process lives, hence the image that holds their code is
    kept.
    """

    def __init__(self, image: Image, threads: int, spin_cycles: int = SPIN_CYCLES) -> None:
        """Start threads 1 … threads-1; the caller of a run is thread 0.

        Raises:
            DeviceError: the operating system starts no more threads.
        """
        self.threads = threads
        self._image = image
        size = _WORKERS + _WORKER_BYTES * threads
        self._memory = np.zeros(size + 64, np.uint8)
        self.address = -(-self._memory.ctypes.data // 64) * 64
        self._set(_THREADS, threads)
        self._set(_SPIN, spin_cycles)
        for offset, name in ((_SYSCALL, "syscall"), (_CREATE, "pthread_create"), (_JOIN, "pthread_join")):
            self._set(offset, _external(name))
        error = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(image.addresses["pool_start"])(self.address)
        if error:
            self.stop()
            raise DeviceError(
                f"cannot start {threads} threads: {os.strerror(error)}; ask for fewer with threads="
            )

    def stop(self) -> None:
        """End the threads. Only for a pool that nobody runs on or will run on."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._image.addresses["pool_stop"])(self.address)

    def _set(self, offset: int, value: int) -> None:
        ctypes.c_int64.from_address(self.address + offset).value = value


def _external(name: str) -> int:
    """Address of a function of libc, which generated code calls through a pointer."""
    return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0


class Pools:
    """The pools of one thread count: borrow with `take`, give back with `free.put`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.forget()

    def forget(self) -> None:
        """Start anew: in a forked child the threads are gone, and locks may be held by threads that are
        gone too.
        """
        self.free: queue.SimpleQueue[Pool] = queue.SimpleQueue()
        self._limit = max(1, available_cores() // self.threads)
        self._started = 0
        self._lock = threading.Lock()

    def take(self, image: Image) -> Pool:
        """A pool that nobody else uses; `image` provides the code if one must be started."""
        try:
            return self.free.get_nowait()
        except queue.Empty:
            return self._start(image) or self.free.get()

    def _start(self, image: Image) -> Pool | None:
        with self._lock:
            if self._started >= self._limit:
                return None
            pool = Pool(image, self.threads)
            self._started += 1
            return pool


_pools: dict[int, Pools] = {}
_pools_lock = threading.Lock()


def pools_of(threads: int) -> Pools:
    """The process's pools of this many threads."""
    with _pools_lock:
        if threads not in _pools:
            _pools[threads] = Pools(threads)
        return _pools[threads]


def _forget_all() -> None:
    global _pools_lock  # noqa: PLW0603  the old lock may be held by a thread that the child lacks
    _pools_lock = threading.Lock()
    for pools in _pools.values():
        pools.forget()


os.register_at_fork(after_in_child=_forget_all)


def available_cores() -> int:
    """Physical cores this process may use: hyperthreads of one core count once."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        # Containers may hide /sys; then each logical CPU counts.
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    return len(cores)
