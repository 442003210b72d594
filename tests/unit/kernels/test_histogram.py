"""histogram against numpy: lengths, both instruction sets, edges of bins, what is beyond the limit."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core.dims import symbol
from engineworks.kernels.cpu.histogram import CpuHistogram
from engineworks.ops.histogram import Histogram
from engineworks.testing.native import run_op


def counts(x: np.ndarray, limit: float, bins: int = 2048, **options: object) -> np.ndarray:
    arrays = [np.asarray(x, np.float32), np.float32(limit).reshape(())]
    (found,) = run_op(CpuHistogram(), Histogram(bins=bins), arrays, **options)
    return found


@pytest.mark.parametrize("isa", [AVX512, AVX2])
@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (3, 5, 7), (300, 401), (0,)])
def test_all_elements_are_counted_where_numpy_counts_them(shape: tuple[int, ...], isa: Isa) -> None:
    # Multiples of a power of two: every position is exact, and numpy's histogram divides without rounding either.
    x = np.random.default_rng(0).integers(-4095, 4096, shape).astype(np.float32) / 4
    expected, _ = np.histogram(np.abs(x), bins=512, range=(0, 1024))
    np.testing.assert_array_equal(counts(x, 1024, 512, isa=isa), expected)


def test_a_piece_may_be_empty_and_a_size_known_at_run_time() -> None:
    n = symbol("N", 1)
    x = np.arange(5, dtype=np.float32)
    found = counts(x, 8, 8, shapes=[(n,), ()], dims={"N": 5}, split=3)
    assert found.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def test_the_last_bin_takes_what_is_beyond_the_limit() -> None:
    x = np.array([0.99, 1.0, 7.0, -np.inf, np.nan, 1e-30] * 5, np.float32)
    assert counts(x, 1.0, 4).tolist() == [5, 0, 0, 25]


def test_a_limit_twice_as_large_adds_up_neighbours() -> None:
    x = np.random.default_rng(3).standard_normal(20_000).astype(np.float32)
    limit = (
        8.0  # above all: what lies at a limit itself is in the last bin of one and in the middle of the other
    )
    narrow, wide = counts(x, limit), counts(x, 2 * limit)
    np.testing.assert_array_equal(wide[:1024], narrow.reshape(-1, 2).sum(1))
    assert not wide[1024:].any()


def test_a_limit_of_zero_loses_no_element() -> None:
    assert counts(np.zeros(40), 0.0, 8).sum() == 40
