"""cum_sum and range against numpy."""

from __future__ import annotations

from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import symbol
from engineworks.kernels.cpu.cumsum import CpuCumSum
from engineworks.kernels.cpu.range import CpuRange
from engineworks.ops.cum_sum import CumSum
from engineworks.ops.range import Range
from engineworks.testing.native import reference, run_op


@pytest.mark.parametrize(
    ("shape", "axis"), [((5,), 0), ((4, 33), 1), ((3, 20, 21), 1), ((18, 5), 0), ((2, 0, 3), 1), ((0, 4), 1)]
)
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_sums_along_any_axis(shape: tuple[int, ...], axis: int, exclusive: bool, reverse: bool) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    op = CumSum(axis=axis, exclusive=exclusive, reverse=reverse)
    (out,) = run_op(CpuCumSum(), op, [x], split=2)
    np.testing.assert_allclose(out, reference(op, [x])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.int64, np.uint32])
@pytest.mark.parametrize("combine", ["sum", "prod"])
def test_any_dtype(dtype: Any, combine: Literal["sum", "prod"]) -> None:
    x = np.random.default_rng(1).integers(1, 3, (6, 19)).astype(dtype)
    op = CumSum(axis=0, combine=combine)
    np.testing.assert_array_equal(run_op(CpuCumSum(), op, [x])[0], reference(op, [x])[0])


def test_a_size_known_at_run_time() -> None:
    x, n = np.random.default_rng(2).integers(-5, 5, (3, 7, 2)), symbol("N", 1)
    op = CumSum(axis=1)
    (out,) = run_op(CpuCumSum(), op, [x], [(3, n, 2)], {"N": 7})
    np.testing.assert_array_equal(out, np.cumsum(x, axis=1))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("limits", [(0, 5, 1), (2, 11, 3), (9, -4, -5), (3, 3, 1), (5, 2, 1), (2, 5, -1)])
def test_ranges_count_and_fill(dtype: Any, limits: tuple[int, int, int]) -> None:
    given = [np.array(v, dtype) for v in limits]
    (out,) = run_op(CpuRange(), Range(count=symbol("n", 0)), given)
    np.testing.assert_array_equal(out, np.arange(*limits).astype(dtype))


def test_a_range_of_fractions() -> None:
    given = [np.array(v, np.float32) for v in (0.5, 3.1, 0.25)]
    (out,) = run_op(CpuRange(), Range(count=symbol("n", 0)), given)
    np.testing.assert_allclose(out, np.arange(0.5, 3.1, 0.25), rtol=1e-6)
