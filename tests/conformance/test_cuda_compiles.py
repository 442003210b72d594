"""Kernels of the operators' examples compile for GPUs of three generations, on a machine without one.

All of them: python -m tests.conformance.cuda_workloads compile 1
"""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="building for cuda needs it")

from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.testing.inputs import Case, cases
from tests.conformance.cuda_workloads import kernels, problems

EACH = 9
"""Of so many operators one is tried."""
SAMPLED = [c for c in cases() if c.number == 0][::EACH]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("case", SAMPLED, ids=lambda c: c.label)
def test_the_best_kernels_compile(case: Case, arch: str) -> None:
    gpu = gpu_of(arch)
    for work in problems(case):
        for _, function in kernels(work, gpu, 0):
            assert compile_cubin(function, gpu).code
