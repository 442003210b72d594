"""Thread pools: shared, bounded, stoppable, asleep when idle."""

from __future__ import annotations

import ctypes
import os
import threading
import time

import numpy as np
import pytest

from engineworks.errors import DeviceError
from engineworks.runtime.cpu import loader, pool
from engineworks.runtime.cpu.pool import Pool, Pools, available_cores


@pytest.fixture
def image(code) -> loader.Image:
    return loader.load(code, ["add_one", *pool.SYMBOLS])


def job_of(image: loader.Image, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A job of one record, y = x + 1: (job, plan, x, y)."""
    x, y = np.zeros(size, np.float32), np.zeros(size, np.float32)
    plan = np.zeros(18, np.int64)
    plan[:10] = [0, image.addresses["add_one"], plan.ctypes.data + 128, size, 0, 1, 0, 0, 3, 0]
    plan[16:] = [x.ctypes.data, y.ctypes.data]
    return np.array([plan.ctypes.data, 0, 0, 0, 0, 0, 0, 0], np.int64), plan, x, y


def os_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_the_structs_of_runtime_and_code_generator_agree():
    from engineworks.codegen.llvm import pool as generated

    assert generated.POOL_ABI == pool.RUNNER_ABI
    assert set(generated.EXPORTS) == set(pool.SYMBOLS)
    assert (generated.THREADS, generated.SPIN, generated.SYSCALL, generated.CREATE, generated.JOIN, generated.WORKERS) == (
        pool._THREADS, pool._SPIN, pool._SYSCALL, pool._CREATE, pool._JOIN, pool._WORKERS,
    )  # fmt: skip


def test_stopped_pools_leave_no_thread(image):
    before = os_threads()
    pools = [Pool(image, 3) for _ in range(5)]
    assert os_threads() == before + 10
    for started in pools:
        started.stop()
    assert os_threads() == before


@pytest.mark.parametrize("spin_cycles", [0, 1_000_000])
def test_runs_work_with_and_without_spinning(image, spin_cycles):
    started = Pool(image, 4, spin_cycles)
    job, _plan, _x, y = job_of(image, 999)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(image.addresses["program_run"])
    for _ in range(300):
        y[:] = 0
        run(started.address, job.ctypes.data)
        assert (y == 1).all()
    started.stop()


def test_idle_threads_use_no_processor(image):
    started = Pool(image, 4)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    used = time.process_time() - before
    started.stop()
    assert used < 0.05


def test_a_run_needs_no_task_for_each_thread(image):
    started = Pool(image, 4)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(image.addresses["program_run"])
    for size in (0, 1, 3):
        job, _plan, _x, y = job_of(image, size)
        run(started.address, job.ctypes.data)
        assert (y == 1).all()
    started.stop()


def test_no_more_pools_are_started_than_cores_can_run(image):
    pools = Pools(available_cores())
    first = pools.take(image)
    taken: list[Pool] = []
    waiter = threading.Thread(target=lambda: taken.append(pools.take(image)))
    waiter.start()
    time.sleep(0.05)
    assert taken == []
    pools.free.put(first)
    waiter.join(10)
    assert taken == [first]
    first.stop()


def test_a_system_without_threads_is_told(image, monkeypatch):
    failing = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(lambda *_: 11)
    monkeypatch.setattr(pool, "_external", lambda name: ctypes.cast(failing, ctypes.c_void_p).value)
    with pytest.raises(DeviceError, match="cannot start 4 threads"):
        Pool(image, 4)


def test_cores_are_at_least_one_and_at_most_those_allowed():
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))
