"""Candidates are compiled, checked and timed in a process of their own, whatever the backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineworks.builder.config import BuildConfig
from engineworks.builder.tuning import make_tuner
from engineworks.core import dtypes
from engineworks.core import target as targets
from engineworks.core.types import TensorType
from engineworks.kernels.backend import find
from engineworks.kernels.workload import Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.tuner.choose import Chooser


def _product() -> Workload:
    left, right = TensorType(dtypes.f32, (37, 65)), TensorType(dtypes.f32, (65, 33))
    return Workload(
        MatMul(), (Operand(left), Operand(right, constant=True)), 2, (TensorType(dtypes.f32, (37, 33)),)
    )


def test_kernels_of_this_cpu_are_measured_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEWORKS_CACHE_DIR", str(tmp_path))
    backend, target = find("cpu"), targets.host()
    isa = backend.isa(target)
    tuner = make_tuner(BuildConfig(effort=1), backend, target, isa, backend.cache(tmp_path), {})
    try:
        work = _product()
        choice = Chooser(backend, isa, 1, tuner).choose_all([(work, "product")])[work.key()]
    finally:
        tuner.close()
    assert choice.measured_s is not None and choice.measured_s < 1e-2
    assert not any(a.rejected for a in choice.alternatives)
    again = make_tuner(BuildConfig(effort=1), backend, target, isa, backend.cache(tmp_path), {})
    repeated = Chooser(backend, isa, 1, again).choose_all([(work, "product")])[work.key()]
    assert repeated.alternatives == choice.alternatives
