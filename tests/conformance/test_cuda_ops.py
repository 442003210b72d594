"""Every op × example as an engine for cuda, whose kernels Triton's interpreter runs here: open sizes, and pinned ones."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="building for cuda needs it")

from engineworks.testing.inputs import Case, cases
from tests.conformance.cuda_workloads import run_case

ALL = list(cases())


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.label)
def test_engine_computes_the_reference(case: Case) -> None:
    run_case(case)


@pytest.mark.parametrize("case", [c for c in ALL if c.dims], ids=lambda c: c.label)
def test_engine_for_pinned_sizes_computes_the_reference(case: Case) -> None:
    run_case(case, fixed_shapes={name: array.shape for name, array in case.feeds().items()})


@pytest.mark.parametrize("case", [c for c in ALL if c.number == 0][::3], ids=lambda c: c.label)
def test_second_best_kernels_compute_the_reference(case: Case) -> None:
    run_case(case, rank=1)
