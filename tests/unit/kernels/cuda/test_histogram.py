"""histogram on CUDA against its numpy reference: counts, what was seen, and the limit used, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.core.dims import Dim, symbol
from engineworks.kernels.cuda.histogram import CudaHistogram, Split
from engineworks.kernels.tactic import Tactic
from engineworks.ops.histogram import Histogram
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import GPU, compiles, run, workload


def check(
    x: np.ndarray, limit: float, bins: int, pieces: int = 3, shape: tuple[Dim, ...] | None = None, **dims: int
) -> None:
    op, arrays = Histogram(bins=bins), [x, np.array(limit, np.float32)]
    work = workload(op, arrays, None if shape is None else [shape, ()])
    image = CudaHistogram().build(work, Tactic("", Split(pieces, 64)), GPU)
    made, right = run(image, work, arrays, dims), reference(op, arrays, dims)
    for a, b in zip(made, right, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bins", [1, 7, 128, 2048, 5000])
@pytest.mark.parametrize("limit", [0.0, 0.01, 3.0, 1e30])
def test_counts_and_the_limit_used(bins: int, limit: float) -> None:
    check(np.random.default_rng(0).normal(size=(5, 77)).astype(np.float32), limit, bins)


@pytest.mark.parametrize(
    "values", [[0.0, -1.0, np.inf, np.nan], [0.0, 0.0], [-0.0], [3.0e38, -1e-38], [np.nan]]
)
@pytest.mark.parametrize("limit", [0.0, 1.0, 1e-30])
def test_special_values(values: list[float], limit: float) -> None:
    check(np.array(values, np.float32), limit, 16)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_sizes_known_at_run_time(n: int) -> None:
    check(
        np.random.default_rng(1).normal(size=(n, 77)).astype(np.float32),
        0.3,
        64,
        2,
        (symbol("N", 0), 77),
        N=n,
    )


@pytest.mark.parametrize("bins", [16, 2048, 9000])
def test_kernels_compile(bins: int) -> None:
    compiles(
        CudaHistogram(), workload(Histogram(bins=bins), [np.zeros((64, 3000), np.float32), np.float32(1)])
    )
