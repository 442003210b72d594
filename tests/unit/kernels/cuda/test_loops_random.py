"""Random expressions and random loop nests on a GPU's kernels compute what numpy computes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("triton")

from hypothesis import given, settings
from hypothesis import strategies as st

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import evaluate as dim_value
from engineworks.ir.kernel import LoopKernel
from engineworks.ir.scalar import Scalar, evaluate
from engineworks.kernels.cuda.loops import CudaLoops
from engineworks.testing.gpu_kernels import interpret_image
from engineworks.testing.kernels import reference_loops
from tests.property.test_scalar_emitters import expressions, kernels
from tests.unit.codegen.test_loops import workload
from tests.unit.codegen.triton.scalar_kernel import run_expressions

SM_90 = gpu_of("sm_90")


@settings(max_examples=30, deadline=None)
@given(exprs=st.lists(st.one_of(expressions(dtypes.f32), expressions(dtypes.i32)), min_size=1, max_size=4))
def test_expressions_match_numpy(exprs: list[Scalar]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=64).astype(np.float32), rng.integers(-9, 9, 64).astype(np.int32)
    named = {f"e{k}": e for k, e in enumerate(exprs)}
    for name, got in run_expressions(named, [x, y]).items():
        expected = np.broadcast_to(evaluate(named[name], [x, y]), got.shape)
        close = np.isclose(got, expected, rtol=2e-4, atol=1e-4, equal_nan=True)
        # A cast may truncate a value that a last bit moved over an integer.
        assert np.mean(~close) < 0.1, (got[~close], expected[~close])


@settings(max_examples=40, deadline=None)
@given(made=kernels(), rank=st.integers(0, 40))
def test_loop_nests_match_numpy(made: tuple[LoopKernel, dict[str, int]], rank: int) -> None:
    kernel, dims = made
    rng = np.random.default_rng(1)
    inputs = [
        np.round(rng.normal(size=[dim_value(d, dims) for d in t.shape]) * 4).astype(t.dtype.numpy)
        for t in kernel.operands
    ]
    (expected,) = reference_loops(kernel, inputs, dims)
    provider, work = CudaLoops(), workload(kernel)
    tactics = list(provider.propose(work, SM_90, 5))
    tactic = tactics[rank % len(tactics)]
    image = provider.build(work, tactic, SM_90)
    (got,) = interpret_image(image, list(zip(inputs, kernel.operands, strict=True)), kernel.outputs, dims)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3, err_msg=tactic.text())
