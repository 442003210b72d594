"""non_zero against numpy: dtypes, ranks, tails, and nothing found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core.dims import symbol
from engineworks.kernels.cpu.nonzero import CpuNonZero
from engineworks.ops.non_zero import NonZero
from engineworks.testing.native import run_op


def check(x: np.ndarray, **options: Any) -> None:
    (found,) = run_op(CpuNonZero(), NonZero(count=symbol("n", 0)), [x], **options)
    np.testing.assert_array_equal(found, np.array(np.nonzero(x)))


@pytest.mark.parametrize("isa", [AVX512, AVX2])
@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (5, 7), (3, 4, 9), (2, 3, 4, 5), (0,), (3, 0)])
def test_any_shape(shape: tuple[int, ...], isa: Isa) -> None:
    check(np.random.default_rng(0).integers(0, 2, shape).astype(bool), isa=isa)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint8])
def test_any_dtype(dtype: Any) -> None:
    check((np.random.default_rng(1).random((6, 11)) < 0.3).astype(dtype))


def test_both_zeros_are_zero_and_nan_is_not() -> None:
    check(np.array([0.0, -0.0, np.nan, 1e-45, -np.inf], np.float32))


def test_none_and_all() -> None:
    check(np.zeros((40, 3), np.float32))
    check(np.ones((40, 3), np.float32))


def test_a_size_known_at_run_time() -> None:
    n = symbol("N", 1)
    check(np.random.default_rng(2).integers(0, 2, (4, 21)), shapes=[(4, n)], dims={"N": 21})
