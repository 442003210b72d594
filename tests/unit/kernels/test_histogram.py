"""histogram against numpy: lengths, both instruction sets, edges of bins, limits that grow, what is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core.dims import symbol
from engineworks.kernels.cpu.histogram import CpuHistogram
from engineworks.ops.histogram import Histogram, grown
from engineworks.testing.native import run_op


def run(x: Any, limit: float, bins: int = 2048, **options: Any) -> tuple[np.ndarray, list[float]]:
    arrays = [np.asarray(x, np.float32), np.float32(limit).reshape(())]
    counts, seen = run_op(CpuHistogram(), Histogram(bins=bins), arrays, **options)
    return counts, seen.tolist()


@pytest.mark.parametrize("isa", [AVX512, AVX2])
@pytest.mark.parametrize("shape", [(1,), (16,), (17,), (3, 5, 7), (300, 401), (0,)])
@pytest.mark.parametrize("limit", [1024, 128])
def test_all_elements_are_counted_where_numpy_counts_them(
    shape: tuple[int, ...], isa: Isa, limit: int
) -> None:
    # Multiples of a power of two: every position is exact, and numpy's histogram divides without rounding either.
    x = np.random.default_rng(0).integers(-4095, 4096, shape).astype(np.float32) / 4
    if x.size > 16:
        x.flat[3] = 1023.0
    counts, seen = run(x, limit, 512, isa=isa, split=2)
    assert seen[:2] == [x.min(initial=np.inf), x.max(initial=-np.inf)]
    if x.size:
        assert seen[2] in [limit * 2**k for k in range(4)]
        assert seen[2] >= np.abs(x).max() > (seen[2] / 2 if seen[2] > limit else 0)
    np.testing.assert_array_equal(counts, np.histogram(np.abs(x), bins=512, range=(0, seen[2]))[0])


def test_a_piece_may_be_empty_and_a_size_known_at_run_time() -> None:
    n = symbol("N", 1)
    counts, seen = run(np.arange(5), 8, 8, shapes=[(n,), ()], dims={"N": 5}, split=3)
    assert counts.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert seen == [0, 4, 8]


def test_without_a_limit_the_largest_magnitude_is_one() -> None:
    counts, seen = run([-3.0, 1.0, 0.5], 0.0, 6)
    assert counts.tolist() == [0, 1, 1, 0, 0, 1]
    assert seen == [-3, 1, 3]
    counts, seen = run(np.zeros(40), 0.0, 8)
    assert counts.sum() == 40
    assert seen == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_told_and_leaves_the_limit(bad: float) -> None:
    for position in (0, 20, 36):
        x = np.linspace(-5, 5, 37, dtype=np.float32)
        x[position] = bad
        counts, seen = run(x, 1.0, 16)
        assert np.isnan(seen[:2]).all()
        assert seen[2] == 1.0
        assert counts.sum() == 37


def test_a_limit_twice_as_large_adds_up_neighbours() -> None:
    x = np.random.default_rng(3).standard_normal(20_000).astype(np.float32)
    narrow, wide = run(x, 8.0)[0], run(x, 16.0)[0]
    np.testing.assert_array_equal(wide[:1024], narrow.reshape(-1, 2).sum(1))
    assert not wide[1024:].any()


@pytest.mark.parametrize("limit", [0.7, 1e-30, 3.0, 5e37, 1.0])
@pytest.mark.parametrize("largest", [1.0, 1.0000001, 0.5, 2.8, 2.9, 1e-40, 3e38])
def test_limits_grow_by_powers_of_two(limit: float, largest: float) -> None:
    low, high = np.float32(limit).reshape(()), np.float32(largest).reshape(())
    seen = run([largest], limit, 64)[1]
    assert seen[2] == grown(low, high)
    if seen[2] != high:
        assert np.log2(float(seen[2]) / float(low)) % 1 == 0
        assert high <= seen[2] * (1 + 1e-7)
        assert seen[2] == low or seen[2] / 2 < high
