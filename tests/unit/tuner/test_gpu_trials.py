"""Trials on a GPU, on one that is emulated: what is uploaded, repeated, checked and rejected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.target import parse
from engineworks.core.types import TensorType
from engineworks.kernels.tactic import KernelImage, Tactic
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.emulated_gpu import EmulatedDriver, emulated_backend
from engineworks.tuner import gpu_trials
from engineworks.tuner.gpu_trials import GpuBench
from engineworks.tuner.messages import Job, Results, Setup, Timed

GPU = gpu_of("sm_90")
SETUP = Setup(parse("cuda:sm_90"), GPU, None, 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRAPH_S", "WARM_S", "FIRST_WARM_S"):
        monkeypatch.setattr(gpu_trials, name, 0.0)


def _product(constant: bool = True) -> Workload:
    left, right = TensorType(dtypes.f16, (17, 48)), TensorType(dtypes.f16, (48, 40))
    return Workload(
        MatMul(), (Operand(left), Operand(right, constant)), 2, (TensorType(dtypes.f16, (17, 40)),)
    )


def _candidates(work: Workload) -> tuple[tuple[str, Tactic], ...]:
    found, _ = emulated_backend().propose(work, GPU, 1)
    ours = [c for c in found if "cublas" not in c.provider.name]
    return tuple((c.provider.name, c.tactic) for c in ours[:2])


def _measure(driver: EmulatedDriver, job: Job, l2_bytes: int = 1 << 10) -> Results:
    tried: list[int] = []
    results = GpuBench(driver, l2_bytes).measure(job, SETUP, emulated_backend(), None, tried.append)
    assert set(tried) == set(range(len(job.tactics)))
    return results


def test_right_candidates_are_timed() -> None:
    work = _product()
    job = Job(work, _candidates(work), {})
    results = _measure(EmulatedDriver(), job)
    assert len(results) == len(job.tactics) == 2
    assert all(r == Timed(pytest.approx(1e-6 / gpu_trials.LEAST_REPEATS), 0.0) for r in results.values())


def test_cold_weights_have_as_many_copies_as_the_cache_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_trials, "SMALL_BYTES", 0)
    work, driver = _product(), EmulatedDriver()
    l2_bytes = 20_000
    _measure(driver, Job(work, _candidates(work)[:1], {}), l2_bytes)
    copies = [n for what, n in driver.log if what == "copy"]
    assert copies[0] >= 48 * 40 * 2
    count = 1 + len(copies)  # the first is uploaded
    assert (count - 1) * copies[0] < gpu_trials.COLD * l2_bytes <= count * copies[0]
    captured = [n for what, n in driver.log if what == "capture"]
    assert captured[0] % max(count, gpu_trials.LEAST_REPEATS) == 0


def test_operands_that_are_no_weights_are_not_copied() -> None:
    work, driver = _product(constant=False), EmulatedDriver()
    results = _measure(driver, Job(work, _candidates(work)[:1], {}))
    assert isinstance(results[0], Timed)
    assert not [n for what, n in driver.log if what == "copy"]


class _Spoiled:
    """A family whose kernels get the wrong weights."""

    def __init__(self, provider: object) -> None:
        self._provider = provider

    def build(self, work: Workload, tactic: Tactic, isa: object) -> KernelImage:
        image = self._provider.build(work, tactic, isa)  # type: ignore[attr-defined]

        def doubled(pack: object) -> object:
            return lambda constants: np.asarray(pack(constants) * 2)  # type: ignore[operator]

        packed = tuple(dataclasses.replace(p, pack=doubled(p.pack)) for p in image.packed)
        return dataclasses.replace(image, packed=packed)


def test_a_wrong_candidate_is_rejected_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    work = _product()
    backend = emulated_backend()
    candidates = [c for c in _candidates(work) if backend.provider(c[0]).build(work, c[1], GPU).packed]
    if not candidates:
        pytest.skip("no family packs these weights")
    find = backend.provider
    names = iter([_Spoiled, lambda p: p])
    monkeypatch.setattr(type(backend), "provider", lambda self, name: next(names)(find(name)))
    results = _measure(EmulatedDriver(), Job(work, (candidates[0], candidates[0]), {}))
    assert str(results[0]).startswith("wrong result") and isinstance(results[1], Timed)


def test_a_candidate_that_does_not_fit_is_rejected() -> None:
    work = _product()
    driver = EmulatedDriver(memory_bytes=6000)
    results = _measure(driver, Job(work, _candidates(work)[:1], {}), l2_bytes=1 << 20)
    assert "no memory" in str(results[0])
